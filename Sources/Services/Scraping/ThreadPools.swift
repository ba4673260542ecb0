import Glibc
import NIOCore
import NIOPosix
import Proxy

/// Runs the core's long work on a thread pool, away from the event loops.
struct ThreadPoolOffload: Offload {
    private let pool: NIOThreadPool
    private let isLowPriority: Bool

    /// - Parameters:
    ///   - pool: started, and shut down after the last connection, by its owner.
    ///   - isLowPriority: whether its threads leave the processor to all others. Then nothing else may run there.
    init(_ pool: NIOThreadPool, isLowPriority: Bool = false) {
        self.pool = pool
        self.isLowPriority = isLowPriority
    }

    /// As `Offload` says.
    func run<Result: Sendable>(
        on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result
    ) -> EventLoopFuture<Result> {
        let promise = eventLoop.makePromise(of: Result.self)
        // Even a pool that is shut down must answer: then the work is done here, late in the daemon's life.
        pool.submit { [isLowPriority] state in
            // On Linux this is the thread's own priority, setpriority(2); asking again changes nothing.
            if isLowPriority, state == .active { _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10) }
            promise.succeed(work())
        }
        return promise.futureResult
    }
}

/// Checks passwords on a thread of its own, of low priority, so that guessing them takes no time from scrapes.
struct PasswordThread: PasswordChecker {
    private let pool: NIOThreadPool

    /// - Parameter pool: one thread, on which nothing else runs. Its owner starts it, and shuts it down after the last connection.
    init(_ pool: NIOThreadPool) { self.pool = pool }

    /// As `PasswordChecker` says.
    func check(_ password: [UInt8], against hash: BcryptHash, on eventLoop: any EventLoop) -> EventLoopFuture<Bool> {
        let promise = eventLoop.makePromise(of: Bool.self)
        pool.submit { state in
            guard state == .active else { return promise.succeed(false) }
            // On Linux this is the thread's own priority, setpriority(2); asking again changes nothing.
            _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
            promise.succeed(hash.matches(password))
        }
        return promise.futureResult
    }
}
