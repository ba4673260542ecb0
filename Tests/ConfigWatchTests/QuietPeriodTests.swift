import Testing

@testable import ConfigWatch

@Suite("The wait for quiet")
struct QuietPeriodTests {
    private let start = ContinuousClock.now
    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }
    private func hasEnded(_ period: inout QuietPeriod, _ milliseconds: Int) -> Bool { period.hasEnded(at: at(milliseconds)) }
    private let fresh = QuietPeriod(quiet: .milliseconds(100), limit: .milliseconds(500))

    @Test("never ends when nothing happened")
    func nothing() {
        var period = fresh
        #expect(period.deadline == nil)
        #expect(!hasEnded(&period, 1_000_000))
    }

    @Test("ends 100 ms after the last event, not a moment before, and once")
    func quiet() {
        var period = fresh
        period.touch(at: at(0))
        period.touch(at: at(60))
        #expect(!hasEnded(&period, 159))
        #expect(hasEnded(&period, 160))
        #expect(!hasEnded(&period, 161))
        #expect(period.deadline == nil)
    }

    @Test("ends 500 ms after the first event although there are more")
    func limit() {
        var period = fresh
        for moment in stride(from: 0, through: 490, by: 10) { period.touch(at: at(moment)) }
        #expect(!hasEnded(&period, 499))
        #expect(hasEnded(&period, 500))
    }

    @Test("waits for a writer who makes a pause, but not longer than 500 ms")
    func unfinished() {
        var period = fresh
        period.touch(at: at(0), isUnfinished: true)
        #expect(!hasEnded(&period, 300))
        period.touch(at: at(300), isUnfinished: true)
        period.touch(at: at(301))
        #expect(!hasEnded(&period, 400))
        #expect(hasEnded(&period, 401))
        period.touch(at: at(1000), isUnfinished: true)
        #expect(!hasEnded(&period, 1499))
        #expect(hasEnded(&period, 1500))
        period.touch(at: at(2000))
        #expect(hasEnded(&period, 2100), "what was unfinished then says nothing of later")
    }

    @Test("starts over after its end")
    func again() {
        var period = fresh
        period.touch(at: at(0))
        #expect(hasEnded(&period, 100))
        period.touch(at: at(450))
        #expect(!hasEnded(&period, 549))
        #expect(hasEnded(&period, 550))
    }
}
