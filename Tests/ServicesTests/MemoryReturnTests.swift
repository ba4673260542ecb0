import NIOCore
import Testing

@testable import Services

@Suite("MemoryReturn")
struct MemoryReturnTests {
    private static let worthwhile = Bursts.worthwhile
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    /// A mutating call cannot stand within `#expect`.
    private func isWorthwhile(_ bursts: inout Bursts, _ levels: MemoryReturn.Levels, at now: NIODeadline) -> Bool {
        bursts.isWorthwhile(levels, at: now)
    }

    private func levels(freed: Int = 0, _ held: (peak: Int, now: Int)...) -> MemoryReturn.Levels {
        MemoryReturn.Levels(freed: UInt64(freed), held: held)
    }

    @Test("freed metrics are worth a walk from a certain size on, and are counted once")
    func freed() {
        var bursts = Bursts()
        #expect(!isWorthwhile(&bursts, levels(freed: Self.worthwhile - 1), at: start))
        #expect(isWorthwhile(&bursts, levels(freed: Self.worthwhile), at: start))
        bursts.trimmed(from: start, to: start)
        #expect(!isWorthwhile(&bursts, levels(freed: Self.worthwhile), at: start))
        #expect(isWorthwhile(&bursts, levels(freed: 2 * Self.worthwhile), at: start))
    }

    @Test("what was held and is held no longer is worth a walk, however long ago the peak was; what is held still is not")
    func fallen() {
        var bursts = Bursts()
        #expect(!isWorthwhile(&bursts, levels((peak: 3 * Self.worthwhile, now: 3 * Self.worthwhile)), at: start))
        #expect(!isWorthwhile(&bursts, levels((peak: 3 * Self.worthwhile, now: 2 * Self.worthwhile + 1)), at: start))
        #expect(isWorthwhile(&bursts, levels((peak: 2 * Self.worthwhile, now: Self.worthwhile)), at: start))
        bursts.trimmed(from: start, to: start)
        #expect(!isWorthwhile(&bursts, levels((peak: Self.worthwhile, now: 1)), at: start))
        #expect(isWorthwhile(&bursts, levels((peak: 1, now: 0)), at: start))
    }

    @Test("a burst that came and went between two looks counts, and small ones of several kinds together")
    func betweenLooks() {
        var bursts = Bursts()
        #expect(isWorthwhile(&bursts, levels((peak: Self.worthwhile, now: 0)), at: start))
        bursts.trimmed(from: start, to: start)
        let half = Self.worthwhile / 2
        #expect(!isWorthwhile(&bursts, levels((peak: half, now: 0), (peak: half - 1, now: 0)), at: start))
        #expect(isWorthwhile(&bursts, levels(freed: 1, (peak: half, now: 0), (peak: half - 1, now: 0)), at: start))
    }

    @Test("walks take a fiftieth of the time at most, and never two at once")
    func rarity() {
        var bursts = Bursts()
        #expect(isWorthwhile(&bursts, levels(freed: Self.worthwhile), at: start))
        #expect(!isWorthwhile(&bursts, levels(freed: 3 * Self.worthwhile), at: start + .seconds(9)))
        bursts.trimmed(from: start, to: start + .milliseconds(100))
        #expect(!isWorthwhile(&bursts, levels(freed: 3 * Self.worthwhile), at: start + .milliseconds(5_099)))
        #expect(isWorthwhile(&bursts, levels(freed: 3 * Self.worthwhile), at: start + .milliseconds(5_100)))
    }

    @Test("heaps are trimmed when much is free that was in use since the last time")
    func heaps() {
        var heaps = FreeHeaps()
        func isWorthwhile(free: Int) -> Bool { heaps.isWorthwhile(free: free) }
        let enough = FreeHeaps.worthwhile
        #expect(!isWorthwhile(free: 5 * enough))
        #expect(!isWorthwhile(free: 6 * enough - 1))
        #expect(isWorthwhile(free: 6 * enough))
        heaps.trimmed(free: 6 * enough)
        #expect(!isWorthwhile(free: 6 * enough))
        #expect(!isWorthwhile(free: 2 * enough))
        #expect(isWorthwhile(free: 3 * enough))
    }
}
