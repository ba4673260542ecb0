import Logging
import NIOCore
import NIOPosix
import Proxy
import Testing

@testable import Services

/// A scrape listener over a store of its own, on a port of its own.
struct TestScrapeServer {
    let store: MetricStore
    let server: ScrapeServer
    let listener: ScrapeListener

    var address: SocketAddress {
        get throws { try SocketAddress(ipAddress: "127.0.0.1", port: Int(try #require(listener.listener.port))) }
    }

    func push(_ name: String, _ text: String) throws {
        let app = (name: try AppName.named(name), exposition: Exposition(addingNewlineTo: ByteBuffer(string: text)))
        try store.apply(Push(apps: [app]), from: .push(listener: "test"), at: SystemClock.now())
    }

    func connect(reads: Bool = true) async throws -> PeerConnection { try await PeerConnection(to: address, reads: reads) }

    /// Sends one text on one connection, ends its side, and waits for the end.
    func exchange(_ text: String, endSending: Bool = true) async throws -> String {
        let connection = try await connect()
        try await connection.send(text)
        if endSending { try await connection.endSending() }
        let answer = try await connection.untilEnd()
        await connection.close()
        return answer
    }
}

/// Generous times, so that only the one that a test shortens ever passes.
extension ScrapeSettings {
    static var patient: ScrapeSettings {
        ScrapeSettings(
            transport: .off, handshakeTimeout: .minutes(5), headerTimeout: .minutes(5), idleTimeout: .minutes(5), writeTimeout: .minutes(5),
            responseTimeout: .hours(1))
    }

    func with(_ change: (inout ScrapeSettings) -> Void) -> ScrapeSettings {
        var copy = self
        change(&copy)
        return copy
    }
}

/// The routes, run over sockets on 127.0.0.1.
func withScrapeServer(
    _ settings: ScrapeSettings = .patient, maxConnections: Int = 1000, _ body: (TestScrapeServer) async throws -> Void
) async throws {
    let group = MultiThreadedEventLoopGroup.singleton
    let store = MetricStore()
    let metrics = SelfMetrics(version: "1", start: SystemClock.time()) { nil }
    metrics.isExposed = false
    let readiness = DaemonLifecycle(startTime: SystemClock.time(), reloads: metrics.reloads) { true }
    readiness.listenersAreUp()
    let router = Router(store: store, lifecycle: readiness, metrics: metrics, offload: ThreadPoolOffload(.ofTests), clock: SystemClock.now)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let server = ScrapeServer(
        responder: router, metrics: metrics, clock: SystemClock.time, maxConnections: maxConnections, group: group, logger: logger)
    let listener = try server.bind(ListenAddress(host: "127.0.0.1", port: 0), settings: settings)
    try await listener.listener.listen()
    listener.start()
    do {
        try await body(TestScrapeServer(store: store, server: server, listener: listener))
        await listener.listener.drain(within: .zero)
    } catch {
        await listener.listener.drain(within: .zero)
        throw error
    }
}
