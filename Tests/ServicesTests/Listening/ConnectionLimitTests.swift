import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Proxy
@testable import Services

@Suite("ConnectionLimit")
struct ConnectionLimitTests {
    private final class Woken: Sendable {
        let times = Atomic(0)
        var count: Int { times.load(ordering: .relaxed) }
        func wake() { times.add(1, ordering: .relaxed) }
    }

    @Test("exactly as many as the limit says are allowed")
    func allowed() {
        let limit = ConnectionLimit(2)
        #expect(limit.takeIfAllowed() && limit.takeIfAllowed())
        #expect(!limit.takeIfAllowed())
        limit.release()
        #expect(limit.takeIfAllowed())
        #expect(limit.open == 2)
    }

    @Test("who waits is woken once there is room, and only once")
    func wake() {
        let limit = ConnectionLimit(1)
        let woken = Woken()
        #expect(limit.hasRoom(orWake: woken.wake))
        limit.take()
        #expect(!limit.hasRoom(orWake: woken.wake))
        #expect(woken.count == 0)
        limit.release()
        #expect(woken.count == 1)
        limit.take()
        limit.release()
        #expect(woken.count == 1)
    }

    @Test("two that wait are both woken: a listener, and the one that it replaces")
    func wakesBoth() {
        let limit = ConnectionLimit(1)
        let (first, second) = (Woken(), Woken())
        limit.take()
        #expect(!limit.hasRoom(orWake: first.wake))
        #expect(!limit.hasRoom(orWake: second.wake))
        limit.release()
        #expect(first.count == 1)
        #expect(second.count == 1)
    }

    @Test("a raised limit wakes, a lowered one takes nothing away")
    func set() {
        let limit = ConnectionLimit(1)
        let woken = Woken()
        limit.take()
        #expect(!limit.hasRoom(orWake: woken.wake))
        limit.set(1)
        #expect(woken.count == 0)
        limit.set(2)
        #expect(woken.count == 1)
        limit.take()
        limit.set(1)
        #expect(limit.open == 2)
        #expect(!limit.hasRoom(orWake: woken.wake))
        limit.release()
        #expect(woken.count == 1)
        limit.release()
        #expect(woken.count == 2)
    }

    @Test("the log line about a refused connection has the limit in force, not the number of open ones")
    func refusalHasTheLimit() throws {
        let lines = LogLines()
        let limit = ConnectionLimit(2)
        limit.take()
        limit.take()
        limit.set(1)
        let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
        let handler = ConnectionLimitHandler(
            limit: limit, policy: .refuse, metrics: metrics.addListener("127.0.0.1:1", .scrape), connections: OpenConnections(),
            logger: lines.logger)
        let channel = EmbeddedChannel(handler: handler)
        let connection: any Channel = EmbeddedChannel()
        try channel.writeInbound(connection)
        #expect(lines.all == ["warning connection closed at once: the limit of open connections is reached limit=1"])
    }

    @Test("between two of the connections that wait, the event loop does its other work")
    func oneAtATime() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let events = Events()
        let listener = try await ServerBootstrap(group: group)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
                    try channel.pipeline.syncOperations.addHandlers([
                        ConnectionLimitHandler(
                            limit: ConnectionLimit(10), policy: .refuse, metrics: metrics.addListener("127.0.0.1:1", .scrape),
                            connections: OpenConnections(), logger: LogLines().logger),
                        Recorder(events),
                    ])
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let address = try #require(listener.localAddress?.hostAndPort)
        let waiting = try (0..<3).map { _ in try RawConnection(to: address) }
        listener.pipeline.fireUserInboundEventTriggered(StartAcceptingEvent())
        try await wait(for: "all to be accepted") { events.all.count == 6 }
        #expect(events.all == ["accepted", "other work", "accepted", "other work", "accepted", "other work"])
        withExtendedLifetime(waiting) {}
        try await listener.close()
        try await group.shutdownGracefully()
    }

    private final class Events: Sendable {
        private let events = Mutex<[String]>([])
        var all: [String] { events.withLock { $0 } }
        func append(_ event: String) { events.withLock { $0.append(event) } }
    }

    private final class Recorder: ChannelInboundHandler {
        typealias InboundIn = any Channel
        private let events: Events

        init(_ events: Events) { self.events = events }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            events.append("accepted")
            context.eventLoop.execute { [events] in events.append("other work") }
            context.fireChannelRead(data)
        }
    }
}
