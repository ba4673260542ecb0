import HTTP
public import NIOCore

/// Where work goes that would hold up an event loop: threads of the shell.
public protocol Offload: Sendable {
    /// Runs `work` on another thread; the future belongs to `eventLoop` and never fails.
    func run<Result: Sendable>(on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result) -> EventLoopFuture<Result>
}

/// How much is too much for an event loop: a millisecond or two.
enum OffloadThreshold {
    /// Apps to be listed.
    static let apps = 1000
    /// Bytes to be copied.
    static let copiedBytes = 4 << 20
    /// Bytes to be compressed.
    static let compressedBytes = 256 << 10
}

extension Offload {
    /// The response that `work` makes: at once when it is little work, otherwise from another thread.
    func answer(on eventLoop: any EventLoop, isLarge: Bool, _ work: @escaping @Sendable () -> Response) -> Answer {
        isLarge ? .later(run(on: eventLoop, work)) : .now(work())
    }
}
