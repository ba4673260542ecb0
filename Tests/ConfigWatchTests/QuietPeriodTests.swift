import Testing

@testable import ConfigWatch

@Suite("The wait for quiet")
struct QuietPeriodTests {
    private let start = ContinuousClock.now
    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }
    private func hasEnded(_ period: inout QuietPeriod, _ milliseconds: Int) -> Bool { period.hasEnded(at: at(milliseconds)) }
    private func entry(_ inode: UInt64, _ name: String = "") -> QuietPeriod.Entry {
        QuietPeriod.Entry(identity: FileIdentity(device: 1, inode: inode), name: name)
    }
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
        period.touch(at: at(0), entry(1), .unfinished)
        #expect(!hasEnded(&period, 300))
        period.touch(at: at(300), entry(1), .unfinished)
        period.touch(at: at(301), entry(1), .finished)
        #expect(!hasEnded(&period, 400))
        #expect(hasEnded(&period, 401))
        period.touch(at: at(1000), entry(1), .unfinished)
        #expect(!hasEnded(&period, 1499))
        #expect(hasEnded(&period, 1500))
        period.touch(at: at(2000))
        #expect(hasEnded(&period, 2100), "what was unfinished then says nothing of later")
    }

    @Test("waits for every writer, whatever happens to other files, and to the file itself")
    func severalFiles() {
        var period = fresh
        period.touch(at: at(0), entry(1), .unfinished)
        period.touch(at: at(10), entry(2, "a"), .unfinished)
        period.touch(at: at(20), entry(3), .unknown)
        period.touch(at: at(30), entry(3), .finished)
        period.touch(at: at(40), entry(1), .unknown)
        period.touch(at: at(50))
        period.touch(at: at(60), entry(2, "b"), .finished)
        period.touch(at: at(70), entry(2, "a"), .finished)
        #expect(!hasEnded(&period, 300))
        period.touch(at: at(310), entry(1), .finished)
        #expect(!hasEnded(&period, 409))
        #expect(hasEnded(&period, 410))
        period.touch(at: at(1000), entry(1), .unfinished)
        period.touch(at: at(1010), entry(2), .finished)
        #expect(!hasEnded(&period, 1499))
        #expect(hasEnded(&period, 1500))
    }

    @Test("keeps a limited number of unfinished files in mind", arguments: [0, 1])
    func manyFiles(beyond: Int) {
        var period = fresh
        for inode in 0..<QuietPeriod.maximumUnfinished + beyond { period.touch(at: at(0), entry(UInt64(inode)), .unfinished) }
        for inode in 1..<QuietPeriod.maximumUnfinished { period.touch(at: at(0), entry(UInt64(inode)), .finished) }
        #expect(!hasEnded(&period, 499))
        period.touch(at: at(0), entry(0), .finished)
        #expect(hasEnded(&period, 499))
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
