import Dispatch
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Proxy
@testable import Services

/// An HTTP receiver on 127.0.0.1 over a store of its own.
private struct TestHTTPReceiver {
    let receiver: HTTPReceiver
    let store: MetricStore
    let turns: EventLoopTurns.OfGroup
    let metrics: SelfMetrics
    let log: LogLines

    var address: String { receiver.listener.name }
}

/// - Parameter decodes: whether there are threads that decode large messages.
private func withHTTPReceiver(
    decodes: Bool = true, group: MultiThreadedEventLoopGroup = .singleton, _ body: (TestHTTPReceiver) async throws -> Void
) async throws {
    let log = LogLines()
    let store = MetricStore()
    let metrics = SelfMetrics(version: "1", start: SystemClock.time()) { nil }
    let lifecycle = DaemonLifecycle(startTime: SystemClock.time(), reloads: metrics.reloads) { true }
    let router = Router(store: store, lifecycle: lifecycle, metrics: metrics, offload: ThreadPoolOffload(.ofTests), clock: SystemClock.now)
    let server = ScrapeServer(
        responder: router, metrics: metrics, clock: SystemClock.time, maxConnections: 10, group: group, logger: log.logger)
    let intake = Intake(store: store, clock: SystemClock.now)
    let routes = PushRoutes(
        intake: intake, groups: PushGroups(intake), users: BasicAuthUsers([:], checker: PasswordThread(.ofTests)),
        browserGuard: BrowserGuard(routes: router), lifecycle: lifecycle)
    let largeMessages = LargeMessages(budget: metrics.held[.pushing])
    if decodes { try largeMessages.start() }
    let receiver = try HTTPReceiver(
        binding: ListenAddress(host: "127.0.0.1", port: 0), settings: HTTPReceiverSettings(Config(), transport: .off), maxConnections: 10,
        HTTPReceiver.Shared(
            routes: routes, parts: server.parts, metrics: metrics, largeMessages: largeMessages, group: group, logger: log.logger))
    try await receiver.listener.listen()
    receiver.start()
    do {
        try await body(TestHTTPReceiver(receiver: receiver, store: store, turns: server.parts.turns, metrics: metrics, log: log))
        await receiver.listener.drain(within: .zero)
        await largeMessages.end()
    } catch {
        await receiver.listener.drain(within: .zero)
        await largeMessages.end()
        throw error
    }
}

@Suite("HTTPReceiver")
struct HTTPReceiverTests {
    @Test("at the end of a drain, the sender of an incomplete or undecoded push is told, and so is the log", arguments: [false, true])
    func cut(isComplete: Bool) async throws {
        // No thread decodes it.
        try await withHTTPReceiver(decodes: false) { receiver in
            let push = try RawConnection(to: receiver.address)
            let message = "{" + (0..<1200).map { "\"\($0)\":\"\"" }.joined(separator: ",") + "}"
            try push.send("POST /apps HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: \(message.utf8.count)\r\n\r\n")
            #expect(try await push.response().status == 100)
            if isComplete {
                try push.send(message)
                try await wait(for: "it to wait for a thread") { receiver.metrics.held[.pushing].used > 0 }
            }
            #expect(await receiver.receiver.listener.drain(within: .milliseconds(10)) == 1)
            let answer = try await push.response()
            #expect(answer.status == 503 && answer.head.lowercased().contains("connection: close"), "\(answer)")
            let rejection = Rejection.timedOut(isComplete ? .closingUndecoded : .closing)
            #expect(answer.body == "error: \(rejection.line)\n")
            let refused = receiver.log.all.filter { $0.contains("message refused") }
            #expect(refused.count == 1 && refused[0].contains("reason=timed_out"), "\(receiver.log.all)")
        }
    }

    @Test("a complete push that waits for its turn is applied, also if its sender has reset the connection")
    func resetBeforeTurn() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        try await withHTTPReceiver(group: group) { receiver in
            let connections = try (0..<9).map { _ in try RawConnection(to: receiver.address) }
            try await wait(for: "all connections") { receiver.receiver.listener.openConnections == 9 }
            // Until the event loop looks at its sockets, all is there, and no request may begin at once.
            let turns = receiver.turns
            let isHeld = Atomic(false)
            let isReleased = DispatchSemaphore(value: 0)
            group.any().execute {
                _ = turns[group.any()].begin {
                    isHeld.store(true, ordering: .releasing)
                    isReleased.wait()
                    EventLoopTurnsTests.work(for: .milliseconds(50))
                }
            }
            try await wait(for: "the event loop to be held") { isHeld.load(ordering: .acquiring) }
            for (index, connection) in connections.enumerated() {
                try connection.send("PUT /apps/\(index) HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\na 1\n")
                connection.reset()
            }
            isReleased.signal()
            try await wait(for: "the ends of all connections") { receiver.receiver.listener.openConnections == 0 }
            try await wait(for: "all pushes") { receiver.store.count == 9 }
            #expect(!receiver.log.all.contains { $0.contains("message refused") })
        }
        try await group.shutdownGracefully()
    }

    @Test("requests that came before the client has ended its side are answered, however large they are")
    func halfClose() async throws {
        try await withHTTPReceiver { receiver in
            let port = try #require(receiver.receiver.listener.port)
            let client = try await PeerConnection(to: SocketAddress(ipAddress: "127.0.0.1", port: Int(port)))
            // The second one comes while the first one is decoded on a thread.
            var requests = ""
            for (name, lines) in [("a", 1_000_000), ("b", 250_000)] {
                requests += "PUT /apps/\(name) HTTP/1.1\r\nHost: h\r\nContent-Length: \(4 * lines)\r\n\r\n"
                requests += String(repeating: "\(name) 1\n", count: lines)
            }
            try await client.send(requests)
            try await client.endSending()
            let answers = try await client.untilEnd()
            #expect(answers.ranges(of: "HTTP/1.1 204").count == 2 && client.error == nil, "\(answers)")
            #expect(!receiver.log.all.contains { $0.contains("refused") }, "\(receiver.log.all)")
            await client.close()
        }
    }
}
