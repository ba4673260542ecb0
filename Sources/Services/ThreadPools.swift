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
    ///   - isLowPriority: whether its threads get a low priority. Then nothing else may run on them.
    init(_ pool: NIOThreadPool, isLowPriority: Bool = false) {
        self.pool = pool
        self.isLowPriority = isLowPriority
    }

    /// As `Offload` says.
    func run<Result: Sendable>(
        on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result
    ) -> EventLoopFuture<Result> {
        let promise = eventLoop.makePromise(of: Result.self)
        // A pool that is shut down calls this closure on the event loop. The request must be answered nevertheless.
        pool.submit { [isLowPriority] state in
            if isLowPriority, state == .active { ThreadPriority.lower() }
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
            ThreadPriority.lower()
            promise.succeed(hash.matches(password))
        }
        return promise.futureResult
    }
}

/// The scheduling of threads.
enum ThreadPriority {
    /// Gives the calling thread a low priority, for work that may wait. Another call changes nothing.
    static func lower() {
        // On Linux this is the priority of the thread, not of the process (setpriority(2)).
        _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
    }
}
