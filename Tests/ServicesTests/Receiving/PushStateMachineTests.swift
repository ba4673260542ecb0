import NIOCore
import Proxy
import Testing

@testable import Services

@Suite("PushStateMachine")
struct PushStateMachineTests {
    private static let begin = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private static func at(_ seconds: Int64) -> NIODeadline { begin + .seconds(seconds) }

    /// Nothing for 60 s, a message within 100 s.
    private static func fresh() -> PushStateMachine {
        PushStateMachine(times: PushStateMachine.Times(idle: .seconds(60), message: .seconds(100)), at: begin)
    }

    /// A machine that has received five bytes of a message, one second after the start.
    private static func withinMessage() -> PushStateMachine {
        var machine = fresh()
        _ = machine.received(5, at: at(1))
        _ = machine.decodingStopped(isWithin, applied: false, at: at(1))
        return machine
    }

    private typealias Stop = PushStateMachine.Stop
    private static let waits = Stop.needsMore(isWithinMessage: false)
    private static let isWithin = Stop.needsMore(isWithinMessage: true)

    // MARK: Time

    @Test("a connection that sends nothing is closed after idle_timeout, without a word")
    func idle() {
        var machine = Self.fresh()
        #expect(machine.deadline == Self.at(60))
        #expect(machine.received(5, at: Self.at(10)) == .decode)
        #expect(machine.decodingStopped(Self.waits, applied: true, at: Self.at(10)) == .none)
        #expect(machine.deadline == Self.at(70))
        #expect(machine.deadlinePassed(at: Self.at(70)) == .close)
        #expect(machine.deadline == nil)
    }

    @Test("nothing for idle_timeout within a message is refused")
    func idleWithinMessage() {
        var machine = Self.fresh()
        #expect(machine.received(5, at: Self.at(10)) == .decode)
        #expect(machine.decodingStopped(Self.isWithin, applied: false, at: Self.at(10)) == .none)
        #expect(machine.deadline == Self.at(70))
        #expect(machine.deadlinePassed(at: Self.at(70)) == .refuse(.timedOut(.idle), closes: false))
        #expect(machine.deadline == Self.at(70) + PushStateMachine.lingerTime)
        #expect(machine.deadlinePassed(at: Self.at(72)) == .close)
    }

    @Test("a byte now and then does not keep a message alive beyond message_timeout")
    func slowMessage() {
        var machine = Self.fresh()
        for second in stride(from: Int64(10), through: 90, by: 20) {
            #expect(machine.received(1, at: Self.at(second)) == .decode)
            #expect(machine.decodingStopped(Self.isWithin, applied: false, at: Self.at(second)) == .none)
        }
        #expect(machine.deadline == Self.at(110))
        #expect(machine.deadlinePassed(at: Self.at(110)) == .refuse(.timedOut(.message), closes: false))
    }

    @Test("each message has its own time")
    func nextMessage() {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(10))
        _ = machine.decodingStopped(Self.isWithin, applied: false, at: Self.at(10))
        _ = machine.received(5, at: Self.at(60))
        // The first one is complete, and another has begun with the same bytes.
        _ = machine.decodingStopped(Self.isWithin, applied: true, at: Self.at(60))
        _ = machine.received(5, at: Self.at(115))
        _ = machine.decodingStopped(Self.isWithin, applied: false, at: Self.at(115))
        #expect(machine.deadline == Self.at(160))
    }

    @Test("the time that decoding takes is not the sender's")
    func workingTime() {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(10))
        #expect(machine.decodingStopped(.isLarge, applied: false, at: Self.at(10)) == .decodeElsewhere)
        #expect(machine.deadline == nil)
        #expect(machine.decodedElsewhere(nil, holdsMore: false, at: Self.at(500)) == .decode)
        #expect(machine.decodingStopped(Self.waits, applied: false, at: Self.at(500)) == .none)
        #expect(machine.deadline == Self.at(560))
    }

    // MARK: Turns

    @Test("nothing is read while complete messages wait; what comes nevertheless is kept", arguments: [true, false])
    func working(isLarge: Bool) {
        var machine = Self.fresh()
        #expect(machine.reads)
        _ = machine.received(5, at: Self.at(1))
        let stopped = machine.decodingStopped(isLarge ? .isLarge : .turnIsOver, applied: false, at: Self.at(1))
        #expect(stopped == (isLarge ? .decodeElsewhere : .yield))
        #expect(!machine.reads)
        #expect(machine.received(5, at: Self.at(2)) == .keep)
        #expect(machine.readCompleted(at: Self.at(2)) == .none)
        if isLarge { #expect(machine.decodedElsewhere(nil, holdsMore: false, at: Self.at(3)) == .decode) }
        #expect(machine.decodingStopped(Self.waits, applied: true, at: Self.at(3)) == .none)
        #expect(machine.reads)
    }

    @Test("a large message that is refused ends the connection as any other")
    func largeRefused() {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(1))
        _ = machine.decodingStopped(.isLarge, applied: false, at: Self.at(1))
        #expect(machine.decodedElsewhere(.truncated, holdsMore: false, at: Self.at(2)) == .refuse(.truncated, closes: false))
        #expect(machine.reads)
    }

    // MARK: The end

    @Test("the sender's end is answered with ours when nothing is cut short, at once or after what waits", arguments: [false, true])
    func end(whileWorking: Bool) {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(1))
        _ = machine.decodingStopped(whileWorking ? .turnIsOver : Self.waits, applied: true, at: Self.at(1))
        if whileWorking {
            #expect(machine.inputClosed() == .none)
            #expect(machine.decodingStopped(Self.waits, applied: true, at: Self.at(2)) == .finish)
        } else {
            #expect(machine.inputClosed() == .finish)
        }
        #expect(machine.finished(nil, at: Self.at(2)) == .close)
        #expect(machine.failed() == .none)
    }

    @Test("an end within a message is refused, and the connection is closed with the answer")
    func cutShort() {
        var machine = Self.withinMessage()
        #expect(machine.inputClosed() == .finish)
        #expect(machine.finished(.truncated, at: Self.at(1)) == .refuse(.truncated, closes: true))
    }

    @Test("a connection that breaks is only reported; what waits is applied before", arguments: [false, true])
    func lost(whileWorking: Bool) {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(1))
        _ = machine.decodingStopped(whileWorking ? .turnIsOver : Self.isWithin, applied: false, at: Self.at(1))
        #expect(machine.connectionLost() == (whileWorking ? .none : .finish))
        if whileWorking { #expect(machine.decodingStopped(Self.isWithin, applied: true, at: Self.at(2)) == .finish) }
        #expect(machine.finished(.truncated, at: Self.at(2)) == .report(.truncated))
        #expect(machine.deadline == nil)
    }

    @Test("a failure ends the connection, but not before what waits is applied", arguments: [false, true])
    func failed(whileWorking: Bool) {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(1))
        _ = machine.decodingStopped(whileWorking ? .turnIsOver : Self.waits, applied: true, at: Self.at(1))
        #expect(machine.failed() == (whileWorking ? .none : .finish))
        if whileWorking {
            #expect(machine.connectionLost() == .none)
            #expect(machine.decodingStopped(Self.waits, applied: true, at: Self.at(2)) == .finish)
        }
        #expect(machine.finished(nil, at: Self.at(2)) == .close)
        #expect(machine.failed() == .none)
    }

    @Test("a failure within a message is reported as its end is")
    func failedWithinMessage() {
        var machine = Self.withinMessage()
        #expect(machine.failed() == .finish)
        #expect(machine.finished(.truncated, at: Self.at(2)) == .report(.truncated))
        #expect(machine.deadline == nil)
        #expect(machine.connectionLost() == .none)
    }

    @Test("after a refusal much is thrown away, but not everything")
    func lingering() {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(1))
        #expect(machine.decodingStopped(.rejected(.truncated), applied: false, at: Self.at(1)) == .refuse(.truncated, closes: false))
        #expect(machine.received(PushStateMachine.lingerBytes - 1, at: Self.at(2)) == .discard)
        #expect(machine.deadline == Self.at(1) + PushStateMachine.lingerTime)
        var ended = machine
        #expect(ended.inputClosed() == .close)
        #expect(machine.received(1, at: Self.at(2)) == .discard)
        #expect(machine.received(1, at: Self.at(2)) == .close)
    }

    // MARK: Drain

    @Test("a drain waits a little for a message that was just sent, and longer for the first one")
    func drainBetweenMessages() {
        var machine = Self.fresh()
        machine.drain(.listenerCloses, at: Self.at(5))
        #expect(machine.deadline == Self.at(5) + .seconds(1))
        let early = Self.at(5) + .milliseconds(400)
        _ = machine.received(5, at: early)
        #expect(machine.decodingStopped(Self.waits, applied: true, at: early) == .none)
        #expect(machine.readCompleted(at: early) == .none)
        #expect(machine.deadline == early + .milliseconds(50))
        var quiet = machine
        #expect(quiet.deadlinePassed(at: early + .milliseconds(50)) == .close)
        // A sender without a pause may have sent more, and must not take the end for a success.
        _ = machine.received(5, at: Self.at(6))
        #expect(machine.decodingStopped(Self.waits, applied: true, at: Self.at(6)) == .none)
        #expect(machine.readCompleted(at: Self.at(6)) == .abort)
    }

    @Test("a drain waits less for the first message while others wait for room")
    func drainWhileOthersWait() {
        var machine = Self.fresh()
        machine.drain(.listenerCloses, at: Self.at(5))
        machine.drain(.othersWait, at: Self.at(5))
        #expect(machine.deadline == Self.at(5) + .milliseconds(200))
        var within = Self.withinMessage()
        within.drain(.othersWait, at: Self.at(2))
        #expect(within.deadline == Self.at(61))
    }

    @Test("a drain lets a message in flight finish, then closes")
    func drainWithinMessage() {
        var machine = Self.withinMessage()
        machine.drain(.listenerCloses, at: Self.at(2))
        #expect(machine.readCompleted(at: Self.at(2)) == .none)
        #expect(machine.deadline == Self.at(61))
        _ = machine.received(5, at: Self.at(3))
        _ = machine.decodingStopped(.isLarge, applied: false, at: Self.at(3))
        #expect(machine.decodedElsewhere(nil, holdsMore: false, at: Self.at(4)) == .decode)
        #expect(machine.decodingStopped(Self.waits, applied: false, at: Self.at(4)) == .none)
        // The next message may have arrived while the connection was not read from.
        #expect(machine.reads && machine.deadline == Self.at(4) + .milliseconds(50))
        #expect(machine.deadlinePassed(at: Self.at(5)) == .close)
    }

    @Test("at the deadline of a drain a message is refused if it is incomplete, or has not been decoded")
    func cut() {
        var idle = Self.fresh()
        #expect(idle.cut(at: Self.at(1)) == .none)
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(1))
        var working = machine
        _ = machine.decodingStopped(Self.isWithin, applied: false, at: Self.at(1))
        #expect(machine.cut(at: Self.at(2)) == .refuse(.timedOut(.closing), closes: false))
        #expect(machine.cut(at: Self.at(2)) == .none)
        #expect(machine.connectionLost() == .close)
        _ = working.decodingStopped(.turnIsOver, applied: true, at: Self.at(1))
        #expect(working.cut(at: Self.at(2)) == .refuse(.timedOut(.closingUndecoded), closes: false))
        var gone = Self.fresh()
        _ = gone.received(5, at: Self.at(1))
        _ = gone.decodingStopped(.isLarge, applied: false, at: Self.at(1))
        _ = gone.connectionLost()
        #expect(gone.cut(at: Self.at(2)) == .none)
        #expect(gone.decodedElsewhere(nil, holdsMore: false, at: Self.at(3)) == .decode)
    }

    @Test("after a change of access a message in flight is the last one")
    func accessChanged() {
        var machine = Self.withinMessage()
        machine.drain(.accessChanged, at: Self.at(2))
        _ = machine.received(5, at: Self.at(3))
        var withMore = machine
        #expect(machine.decodingStopped(Self.waits, applied: true, at: Self.at(3)) == .abort)
        // The sender must not take the end for a success.
        #expect(withMore.decodingStopped(Self.isWithin, applied: true, at: Self.at(3)) == .refuse(.accessChanged, closes: false))
    }

    @Test("a stop after a change of access does not let more messages in")
    func stopAfterAccessChanged() {
        var machine = Self.withinMessage()
        machine.drain(.accessChanged, at: Self.at(2))
        machine.drain(.listenerCloses, at: Self.at(3))
        #expect(machine.nextIsLast)
    }

    @Test("after a change of access a large message is the last one, also when the next one has begun")
    func accessChangedWhileWorking() {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(1))
        #expect(machine.decodingStopped(.isLarge, applied: false, at: Self.at(1)) == .decodeElsewhere)
        machine.drain(.accessChanged, at: Self.at(2))
        #expect(machine.decodedElsewhere(nil, holdsMore: false, at: Self.at(3)) == .abort)
    }

    @Test("after a change of access the end of the sender's side does not hide that bytes were dropped")
    func accessChangedAtTheEnd() {
        var machine = Self.fresh()
        _ = machine.received(5, at: Self.at(1))
        #expect(machine.decodingStopped(.turnIsOver, applied: true, at: Self.at(1)) == .yield)
        machine.drain(.accessChanged, at: Self.at(2))
        #expect(machine.nextIsLast)
        #expect(machine.inputClosed() == .none)
        #expect(machine.decodingStopped(Self.isWithin, applied: true, at: Self.at(3)) == .refuse(.accessChanged, closes: true))
    }
}
