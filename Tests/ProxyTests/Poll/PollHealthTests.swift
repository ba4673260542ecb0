import NIOCore
import Testing

@testable import Proxy

@Suite("PollHealth")
struct PollHealthTests {
    private let good = PollOutcome.success(Exposition(endingInNewline: ByteBuffer()))
    private let bad = PollOutcome.failure(reason: "connection refused")

    @Test("only changes are told")
    func changes() {
        var health = PollHealth()
        #expect(health.update(good) == nil)
        #expect(health.update(good) == nil)
        #expect(health.update(bad) == .becameFailing(reason: "connection refused"))
        #expect(health.update(bad) == nil)
        #expect(health.update(.failure(reason: "status 503")) == .failsDifferently(reason: "status 503"))
        #expect(health.update(good) == .recovered)
        #expect(health.update(good) == nil)
    }

    @Test("a target that fails from the start says so once")
    func failsFirst() {
        var health = PollHealth()
        #expect(health.update(bad) == .becameFailing(reason: "connection refused"))
        #expect(health.update(bad) == nil)
        #expect(health.update(good) == .recovered)
    }
}
