import Logging
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Proxy
@testable import Services

/// A receiver over a store of its own.
struct TestReceiver {
    let store: MetricStore
    let inflight: ByteBudget
    let receiver: Receiver
    let log: LogLines
    let address: SocketAddress

    func connect() async throws -> PeerConnection { try await PeerConnection(to: address) }

    /// Sends bytes on one connection, ends its side, and waits for the end.
    /// - Returns: what the proxy had to say.
    func push(_ bytes: some Sequence<UInt8>) async throws -> String {
        let connection = try await connect()
        // Refused early, the rest may not be taken any more.
        try? await connection.send(bytes)
        try? await connection.endSending()
        let answer = try await connection.untilEnd()
        await connection.close()
        return answer
    }

    func push(_ text: String) async throws -> String { try await push(text.utf8) }

    /// Messages received, of all formats.
    var received: Int { receiver.listener.metrics.received.reduce(0) { $0 + $1.line.counter.value } }

    /// All metrics, in order of name.
    var text: String { store.snapshot(at: SystemClock.now()).pieces.map { String(buffer: $0) }.joined() }
}

extension ReceiverSettings {
    /// Generous times, so that only the one that a test shortens ever passes.
    static var patient: ReceiverSettings {
        ReceiverSettings(
            transport: .off, format: .json, maxMessageSize: .mebibytes(16),
            times: PushStateMachine.Times(idle: .minutes(5), message: .minutes(5)), handshakeTimeout: .minutes(5))
    }

    func with(_ change: (inout ReceiverSettings) -> Void) -> ReceiverSettings {
        var copy = self
        change(&copy)
        return copy
    }
}

/// A receiver on 127.0.0.1, or on a Unix socket in a temporary folder.
func withReceiver(
    _ settings: ReceiverSettings = .patient, onUnixSocket: Bool = false, maxConnections: Int = 100, inflight: Int = 1 << 20,
    limits: StoreLimits = StoreLimits(), starts: Bool = true, _ body: (TestReceiver) async throws -> Void
) async throws {
    try await withTemporaryFolder { folder in
        let store = MetricStore(limits: limits)
        let log = LogLines()
        let metrics = SelfMetrics(version: "1", start: SystemClock.time()) { nil }
        let budget = metrics.held[.pushing]
        budget.limit = ByteCount(inflight)
        let path = folder.path("r.sock")
        let decoding = PushDecoding(
            turns: EventLoopTurns.OfGroup(MultiThreadedEventLoopGroup.singleton), largeMessages: LargeMessages(budget: budget))
        try decoding.largeMessages.start()
        let receiver = try Receiver(
            binding: onUnixSocket ? .unix(UnixSocketConfig(path: path)) : .tcp(ListenAddress(host: "127.0.0.1", port: 0)),
            settings: settings,
            maxConnections: maxConnections, intake: Intake(store: store, clock: SystemClock.now), metrics: metrics,
            decoding: decoding, group: MultiThreadedEventLoopGroup.singleton, logger: log.logger)
        try await receiver.listener.listen()
        try receiver.listener.publish()
        if starts { receiver.start() }
        do {
            let address =
                try receiver.listener.port.map { try SocketAddress(ipAddress: "127.0.0.1", port: Int($0)) }
                ?? SocketAddress(unixDomainSocketPath: path)
            try await body(TestReceiver(store: store, inflight: budget, receiver: receiver, log: log, address: address))
            await receiver.listener.drain(within: .zero)
            await decoding.largeMessages.end()
        } catch {
            await receiver.listener.drain(within: .zero)
            await decoding.largeMessages.end()
            throw error
        }
    }
}
