public import NIOCore
public import NIOPosix
public import Proxy

/// Runs the core's long work on a thread pool, away from the event loops.
public struct ThreadPoolOffload: Offload {
    private let pool: NIOThreadPool

    /// - Parameter pool: started, and shut down by whoever made it, after the last connection.
    public init(_ pool: NIOThreadPool) { self.pool = pool }

    /// As `Offload` says.
    public func run<Result: Sendable>(
        on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result
    ) -> EventLoopFuture<Result> {
        let promise = eventLoop.makePromise(of: Result.self)
        // Even a pool that is shut down must answer: then the work is done here, late in the daemon's life.
        pool.submit { _ in promise.succeed(work()) }
        return promise.futureResult
    }
}
