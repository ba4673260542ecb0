import NIOCore
import Synchronization

/// Measures how late event loops run their timers (`exporter_proxy_event_loop_lag_seconds`). A timer on each loop fires once a
/// second. If it fires late, everything else on that loop has waited as long.
final class EventLoopLag: Sendable {
    /// How often the timers fire. A stall of this length is always noticed.
    static let period = TimeAmount.seconds(1)

    private let probes: [LagProbe]

    /// Begins to measure; ends with the event loops.
    init(_ group: any EventLoopGroup) {
        let probes = group.makeIterator().map { LagProbe(eventLoop: $0) }
        self.probes = probes
        for probe in probes { probe.start() }
    }

    /// The longest delay of any loop in the last minute. For a loop that is stuck now, the time so far counts. May be called from any
    /// thread.
    func longest(at now: NIODeadline = .now()) -> TimeAmount {
        probes.map { $0.longest(at: now) }.max() ?? .zero
    }
}

/// The probe of one event loop.
private final class LagProbe: NIOScheduledCallbackHandler, Sendable {
    private struct State {
        /// When the timer should fire next; `nil` before the start.
        var due: NIODeadline?
        var delays = RecentMaximum()
    }

    private let eventLoop: any EventLoop
    /// Guards the delays, which scrapes read from other threads.
    private let state = Mutex(State())

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func start() {
        eventLoop.execute { [self] in schedule(on: eventLoop) }
    }

    func longest(at now: NIODeadline) -> TimeAmount {
        state.withLock { state in
            let pending = state.due.map { max(now - $0, .zero) } ?? .zero
            return max(pending, state.delays.value(at: now))
        }
    }

    func handleScheduledCallback(eventLoop: some EventLoop) {
        let now = NIODeadline.now()
        state.withLock { state in
            guard let due = state.due else { return }
            state.delays.record(now - due, at: now)
        }
        schedule(on: eventLoop)
    }

    private func schedule(on eventLoop: any EventLoop) {
        let due = NIODeadline.now().next(EventLoopLag.period)
        state.withLock { $0.due = due }
        // It fails only on a loop that is shut down.
        if (try? eventLoop.scheduleCallback(at: due, handler: self)) == nil { state.withLock { $0.due = nil } }
    }
}

/// The largest of the values that were recorded in the last minute, accurate to six seconds.
struct RecentMaximum {
    private static let slotNanoseconds: UInt64 = 6_000_000_000
    private static let slotCount = 11

    private struct Slot {
        /// Counts slots since the clock's zero. A slot with an old number counts as empty.
        var number: UInt64 = 0
        var value = TimeAmount.zero
    }

    private var slots = [Slot](repeating: Slot(), count: slotCount)

    /// - Parameter now: not before that of an earlier call.
    mutating func record(_ value: TimeAmount, at now: NIODeadline) {
        let number = now.uptimeNanoseconds / Self.slotNanoseconds
        let index = Int(number % UInt64(Self.slotCount))
        if slots[index].number == number {
            slots[index].value = max(slots[index].value, value)
        } else {
            slots[index] = Slot(number: number, value: value)
        }
    }

    /// Zero when nothing was recorded.
    func value(at now: NIODeadline) -> TimeAmount {
        let number = now.uptimeNanoseconds / Self.slotNanoseconds
        return slots.filter { $0.number + UInt64(Self.slotCount) > number }.map(\.value).max() ?? .zero
    }
}
