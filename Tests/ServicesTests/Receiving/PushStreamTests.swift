import NIOCore
import NIOEmbedded
import Testing

@testable import Proxy
@testable import Services

@Suite("PushStream")
struct PushStreamTests {
    @Test("a push that its labels may make long is left to another thread, and is applied there with them")
    func longLabels() throws {
        let store = MetricStore()
        let intake = Intake(store: store, clock: SystemClock.now)
        var config = Config()
        config.metrics.appLabel = "app"
        intake.rules = IntakeRules(config)
        let metrics = SelfMetrics(version: "1", start: SystemClock.time()) { nil }
        let destination = PushStream.Destination(
            intake: intake, source: .push(listener: "l"), metrics: metrics.addListener("l", .receiver))
        var stream = PushStream(destination, .patient)
        let name = String(repeating: "n", count: 200)
        stream.feed(ByteBuffer(string: "{\"\(name)\": \"\(String(repeating: "a 1\\n", count: 2000))\"}"))
        let channel = EmbeddedChannel()
        let stop = EventLoopTurns(channel.eventLoop).take { stream.applyComplete(in: $0, of: channel).stop }
        guard case .large(let message)? = stop else {
            Issue.record("applied on the event loop: \(String(describing: stop))")
            return
        }
        #expect(store.count == 0 && !stream.isWithinMessage)
        #expect(message.size == 8000 && destination.cost(of: message) >= 2000 * 200)
        #expect(destination.apply(message, .json, from: Sender(peer: .unknown)) == nil)
        let text = store.snapshot(at: SystemClock.now()).pieces.map { String(buffer: $0) }.joined()
        #expect(text == String(repeating: "a{app=\"\(name)\"} 1\n", count: 2000))
    }
}
