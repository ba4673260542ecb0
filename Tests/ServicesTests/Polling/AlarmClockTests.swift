import NIOCore
import NIOEmbedded
import Testing

@testable import Services

@Suite("AlarmClock")
struct AlarmClockTests {
    private final class Rings {
        var names: [String] = []
    }

    private let loop = EmbeddedEventLoop()
    private let clock: AlarmClock
    private let rings = Rings()

    init() {
        clock = AlarmClock(eventLoop: loop)
    }

    private func alarm(_ name: String) -> AlarmClock.Alarm { AlarmClock.Alarm { [rings] in rings.names.append(name) } }

    private func moment(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(milliseconds) }

    @Test("each alarm rings once, at its moment and not before")
    func once() {
        let (a, b, c) = (alarm("a"), alarm("b"), alarm("c"))
        clock.set(b, to: moment(20))
        clock.set(a, to: moment(10))
        clock.set(c, to: moment(20))
        loop.advanceTime(by: .milliseconds(9))
        #expect(rings.names.isEmpty)
        loop.advanceTime(by: .milliseconds(1))
        #expect(rings.names == ["a"])
        loop.advanceTime(by: .seconds(60))
        #expect(rings.names == ["a", "b", "c"])
    }

    @Test("an alarm set anew rings at its last moment alone, earlier or later")
    func anew() {
        let (a, b) = (alarm("a"), alarm("b"))
        clock.set(a, to: moment(10))
        clock.set(a, to: moment(30))
        clock.set(b, to: moment(30))
        clock.set(b, to: moment(20))
        loop.advanceTime(by: .milliseconds(20))
        #expect(rings.names == ["b"])
        loop.advanceTime(by: .seconds(60))
        #expect(rings.names == ["b", "a"])
    }

    @Test("set back to a moment that it was set to before, it rings once")
    func back() {
        let a = alarm("a")
        clock.set(a, to: moment(10))
        clock.set(a, to: moment(20))
        clock.set(a, to: moment(10))
        loop.advanceTime(by: .seconds(60))
        #expect(rings.names == ["a"])
    }

    @Test("a stopped alarm does not ring, nor can it be set")
    func stopped() {
        let a = alarm("a")
        clock.set(a, to: moment(10))
        a.stop()
        clock.set(a, to: moment(20))
        loop.advanceTime(by: .seconds(60))
        #expect(rings.names.isEmpty)
    }

    @Test("an alarm may set itself, and others, while it rings")
    func withinRing() {
        final class Box {
            var again: AlarmClock.Alarm?
            var count = 0
        }
        let box = Box()
        box.again = AlarmClock.Alarm { [clock, loop] in
            box.count += 1
            if box.count < 100, let alarm = box.again { clock.set(alarm, to: loop.now + .milliseconds(5)) }
        }
        if let alarm = box.again { clock.set(alarm, to: moment(5)) }
        for _ in 0..<200 { loop.advanceTime(by: .milliseconds(5)) }
        #expect(box.count == 100)
        box.again = nil
    }

    @Test("moments that have passed ring at once, in order, when a loop was busy for long")
    func late() {
        let alarms = (0..<50).map { alarm("\($0)") }
        for (index, alarm) in alarms.enumerated().shuffled() { clock.set(alarm, to: moment(Int64(index))) }
        loop.advanceTime(by: .seconds(1))
        #expect(rings.names == (0..<50).map(String.init))
    }
}
