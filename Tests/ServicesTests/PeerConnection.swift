import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// A client's side of one connection: every byte is the test's, everything that comes is kept.
final class PeerConnection: Sendable {
    private let channel: any Channel
    private let seen: Seen

    private final class Seen: Sendable {
        struct State {
            var bytes: [UInt8] = []
            var hasEnded = false
            var error: (any Error)?
        }

        let state = Mutex(State())
    }

    private final class Recorder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let seen: Seen

        init(_ seen: Seen) { self.seen = seen }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            seen.state.withLock { $0.bytes += bytes.readableBytesView }
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event as? ChannelEvent == .inputClosed { seen.state.withLock { $0.hasEnded = true } }
        }

        func channelInactive(context: ChannelHandlerContext) { seen.state.withLock { $0.hasEnded = true } }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { seen.state.withLock { $0.error = error } }
    }

    /// - Parameter reads: whether it takes what comes; otherwise it is a reader that takes nothing.
    init(to address: SocketAddress, reads: Bool = true) async throws {
        let seen = Seen()
        self.seen = seen
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.autoRead, value: reads)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Recorder(seen)) }
            }
            .connect(to: address).get()
    }

    var bytes: [UInt8] { seen.state.withLock { $0.bytes } }
    var text: String { String(decoding: bytes, as: UTF8.self) }
    /// Whether the other side has ended.
    var hasEnded: Bool { seen.state.withLock { $0.hasEnded } }
    var error: (any Error)? { seen.state.withLock { $0.error } }

    func send(_ bytes: some Sequence<UInt8>) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }
    func send(_ text: String) async throws { try await send(text.utf8) }
    /// Ends this side; the other may still answer.
    func endSending() async throws { try await channel.close(mode: .output) }
    func close() async { try? await channel.close() }
    /// Takes what has come by now, once.
    func readSome() { channel.read() }

    /// Waits for the other side's end.
    /// - Returns: all that came.
    @discardableResult
    func untilEnd() async throws -> String {
        try await wait(for: "the end of the connection") { hasEnded }
        return text
    }

    /// Waits until this many bytes match.
    func until(_ part: String, times: Int = 1) async throws {
        try await wait(for: "\(times) × \(part.debugDescription)") { text.ranges(of: part).count >= times }
    }
}
