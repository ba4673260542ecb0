import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import Services

@Suite("PeriodicWork")
struct PeriodicWorkTests {
    @Test(
        "the next time is a whole multiple of the period, and later than now",
        arguments: [(0, 1000), (1, 1000), (999, 1000), (1000, 2000), (1001, 2000)])
    func next(now: UInt64, next: UInt64) {
        #expect(NIODeadline.uptimeNanoseconds(now).next(.nanoseconds(1000)) == .uptimeNanoseconds(next))
    }

    @Test("work with several periods is done again and again, and falls together")
    func fallsTogether() {
        let eventLoop = EmbeddedEventLoop()
        let done = Mutex<[String]>([])
        eventLoop.advanceTime(by: .seconds(3))
        eventLoop.repeats(every: .seconds(4)) { done.withLock { $0.append("long") } }
        eventLoop.advanceTime(by: .milliseconds(500))
        eventLoop.repeats(every: .seconds(2)) { done.withLock { $0.append("short") } }
        func isDone(after time: TimeAmount) -> Set<String> {
            done.withLock { $0 = [] }
            eventLoop.advanceTime(by: time)
            return Set(done.withLock { $0 })
        }
        #expect(isDone(after: .milliseconds(499)) == [])
        #expect(isDone(after: .milliseconds(1)) == ["long", "short"])
        #expect(isDone(after: .seconds(2)) == ["short"])
        #expect(isDone(after: .milliseconds(1999)) == [])
        #expect(isDone(after: .milliseconds(1)) == ["long", "short"])
    }
}
