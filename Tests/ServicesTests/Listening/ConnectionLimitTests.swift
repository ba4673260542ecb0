import NIOCore
import NIOEmbedded
import Synchronization
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
        #expect(limit.room(orWake: woken.wake) == 1)
        limit.take()
        #expect(limit.room(orWake: woken.wake) == 0)
        #expect(woken.count == 0)
        limit.release()
        #expect(woken.count == 1)
        limit.take()
        limit.release()
        #expect(woken.count == 1)
    }

    @Test("a raised limit wakes, a lowered one takes nothing away")
    func set() {
        let limit = ConnectionLimit(1)
        let woken = Woken()
        limit.take()
        #expect(limit.room(orWake: woken.wake) == 0)
        limit.set(1)
        #expect(woken.count == 0)
        limit.set(2)
        #expect(woken.count == 1)
        limit.take()
        limit.set(1)
        #expect(limit.open == 2)
        #expect(limit.room(orWake: woken.wake) == 0)
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
}
