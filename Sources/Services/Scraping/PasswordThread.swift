import Glibc
public import NIOCore
public import NIOPosix
public import Proxy

/// Checks passwords on a thread of its own, of low priority, so that guessing them takes no time from scrapes.
public struct PasswordThread: PasswordChecker {
    private let pool: NIOThreadPool

    /// - Parameter pool: one thread, on which nothing else runs. Its owner starts it, and shuts it down after the last connection.
    public init(_ pool: NIOThreadPool) { self.pool = pool }

    /// As `PasswordChecker` says.
    public func check(_ password: [UInt8], against hash: BcryptHash, on eventLoop: any EventLoop) -> EventLoopFuture<Bool> {
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
