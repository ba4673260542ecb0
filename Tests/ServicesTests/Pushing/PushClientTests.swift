import NIOCore
import NIOPosix
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("PushClient")
struct PushClientTests {
    private typealias Outcome = Result<Void, PushFailure>

    /// Sends metrics as those of the app `a`.
    /// - Parameter begun: called once the first attempt has begun.
    private func push(
        _ metrics: String = "a 1\n", to address: PushAddress, timeout: Duration = .seconds(60), retryTime: Duration = .zero,
        begun: () async throws -> Void = {}
    ) async throws -> Outcome {
        let encoder = try PushEncoder(app: try AppName.named("a"), metrics: ByteBuffer(string: metrics), format: .json)
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let ended = eventLoop.makePromise(of: Outcome.self)
        try await eventLoop.submit {
            PushClient(encoder, to: address, tls: nil, timeout: timeout, retryTime: retryTime, on: eventLoop) { ended.succeed($0) }.start()
        }.get()
        // A Unix socket that is not there is known at once.
        for _ in 0..<3 { try await eventLoop.submit {}.get() }
        try await begun()
        return try await ended.futureResult.get()
    }

    private func reason(_ outcome: Outcome) -> String? {
        if case .failure(let failure) = outcome { failure.description } else { nil }
    }

    @Test("applied is silence and the receiver's end")
    func applied() async throws {
        try await withReceiver(inflight: 64 << 20) { receiver in
            let address = PushAddress.tcp(host: "127.0.0.1", port: UInt16(try #require(receiver.receiver.listener.port)))
            let small = try await push(to: address)
            #expect(reason(small) == nil)
            #expect(receiver.text == "a 1\n")
            // Large enough to be written in many pieces, and decoded on a pool.
            let large = String(repeating: "a_total 1\n", count: 500_000)
            let applied = try await push(large, to: address)
            #expect(reason(applied) == nil)
            #expect(receiver.text == large)
        }
    }

    @Test("a refusal gives the receiver's words alone")
    func refused() async throws {
        try await withReceiver(onUnixSocket: true, limits: StoreLimits(maxTotalSize: ByteCount(3))) { receiver in
            let address = PushAddress.unix(path: receiver.receiver.listener.name)
            let outcome = try await push(to: address)
            #expect(reason(outcome) == Rejection.storeFull(limit: ByteCount(3)).line)
        }
    }

    @Test("where nothing listens the reason says so, and how long it was tried", arguments: [Duration.zero, .milliseconds(300)])
    func nothingListens(retryTime: Duration) async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("none.sock")
            let outcome = try await push(to: .unix(path: path), retryTime: retryTime)
            #expect(
                reason(outcome) == "unix:\(path): cannot connect: no such file or directory"
                    + (retryTime > .zero ? " (tried for 300ms)" : ""))
        }
    }

    @Test("the pause between two attempts does not count for the timeout of one")
    func pause() async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("none.sock")
            // Shorter than the pause.
            let outcome = try await push(to: .unix(path: path), timeout: .milliseconds(190), retryTime: .milliseconds(300))
            #expect(reason(outcome) == "unix:\(path): cannot connect: no such file or directory (tried for 300ms)")
        }
    }

    @Test("a receiver that begins to listen meanwhile gets the push")
    func retried() async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("late.sock")
            var server: (any Channel)?
            let outcome = try await push(to: .unix(path: path), retryTime: .seconds(60)) {
                server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .childChannelOption(.allowRemoteHalfClosure, value: true)
                    .childChannelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(ClosesAtTheEnd()) }
                    }
                    .bind(unixDomainSocketPath: path).get()
            }
            #expect(reason(outcome) == nil)
            try await server?.close()
        }
    }

    @Test("a receiver that never ends its side is given up after the timeout")
    func timeout() async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("silent.sock")
            let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .bind(unixDomainSocketPath: path).get()
            let outcome = try await push(to: .unix(path: path), timeout: .milliseconds(300))
            #expect(
                reason(outcome)?.hasPrefix("unix:\(path): timed out after 300ms while waiting for the receiver to end its side") == true)
            try await server.close()
        }
    }
}

/// A receiver that is content with everything.
private final class ClosesAtTheEnd: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed { context.close(promise: nil) }
    }
}
