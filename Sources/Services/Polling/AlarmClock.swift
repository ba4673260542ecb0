import NIOCore

/// Wakes the target loops of one event loop, with a single timer: alarms for the same moment, as `PollSchedule` makes them, cost one
/// wake-up, and hundreds of targets do not slow down the event loop's other timers. Belongs to its event loop.
final class AlarmClock: NIOScheduledCallbackHandler {
    /// One alarm, set again and again.
    final class Alarm {
        /// `nil` while nothing is awaited. An alarm whose moment has changed stays in the queue, and does not ring.
        fileprivate var moment: NIODeadline?
        fileprivate var ring: (() -> Void)?

        /// - Parameter ring: called on the event loop; may set the alarm again. Released by `stop()`.
        init(ring: @escaping () -> Void) {
            self.ring = ring
        }

        /// It rings no more, and keeps nothing alive.
        func stop() {
            moment = nil
            ring = nil
        }
    }

    private let eventLoop: any EventLoop
    /// In order, each once.
    private var moments: [NIODeadline] = []
    private var alarms: [NIODeadline: [Alarm]] = [:]
    private var scheduled: (callback: NIOScheduledCallback, at: NIODeadline)?

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// Rings at that moment, instead of any other.
    func set(_ alarm: Alarm, to moment: NIODeadline) {
        guard alarm.ring != nil, alarm.moment != moment else { return }
        alarm.moment = moment
        if alarms[moment]?.append(alarm) == nil {
            alarms[moment] = [alarm]
            moments.insert(moment, at: moments.firstIndex(after: moment))
        }
        schedule()
    }

    func handleScheduledCallback(eventLoop: some EventLoop) {
        scheduled = nil
        let now = eventLoop.now
        while let moment = moments.first, moment <= now {
            moments.removeFirst()
            for alarm in alarms.removeValue(forKey: moment) ?? [] where alarm.moment == moment {
                alarm.moment = nil
                alarm.ring?()
            }
        }
        schedule()
    }

    private func schedule() {
        guard let first = moments.first else { return }
        if let scheduled {
            if scheduled.at <= first { return }
            scheduled.callback.cancel()
        }
        // It fails only on a loop that is shut down, and then nothing is left to be polled.
        guard let callback = try? eventLoop.assumeIsolated().scheduleCallback(at: first, handler: self) else { return }
        scheduled = (callback, first)
    }
}

extension [NIODeadline] {
    /// Where `moment` belongs in an array that is in order.
    fileprivate func firstIndex(after moment: NIODeadline) -> Int {
        var range = startIndex..<endIndex
        while !range.isEmpty {
            let middle = range.lowerBound + range.count / 2
            range = self[middle] < moment ? (middle + 1)..<range.upperBound : range.lowerBound..<middle
        }
        return range.lowerBound
    }
}
