import Logging
import NIOCore
import Proxy

/// Polls one target for as long as it is configured: waits, fetches, records. Used on its event loop only. It does not wait for other
/// loops.
final class TargetLoop {
    /// Records an outcome and the duration of the poll. Returns the final outcome: a full store turns a success into a failure. Called on
    /// any thread.
    typealias Record = @Sendable (PollOutcome, Duration) -> PollOutcome

    private enum State {
        /// The alarm is the start of the next poll.
        case waiting
        /// The alarm is the poll's deadline.
        case polling
        /// The body is complete, and is decoded on a thread pool.
        case decoding(PollingPool.Job)
        /// Not started, or stopped.
        case stopped
    }

    /// For the log.
    private var name: AppName
    private let eventLoop: any EventLoop
    private let schedule: PollSchedule
    private let timeout: TimeAmount
    private let pool: PollingPool
    private let record: Record
    private let logger: Logger
    private let alarms: AlarmClock
    private var alarm: AlarmClock.Alarm?
    private var client: TargetClient?
    private var health = PollHealth()
    private var state = State.stopped
    /// When the poll under way, or the last one, began.
    private var began = NIODeadline.now()
    /// Called when the first poll has ended, then forgotten.
    private var firstPollEnded: (() -> Void)?

    init(
        _ polled: PolledTarget, in context: PollingContext, resolver: HostResolver, pool: PollingPool, logger: Logger,
        record: @escaping Record, firstPollEnded: @escaping () -> Void
    ) {
        self.name = polled.target.name
        self.eventLoop = context.eventLoop
        self.schedule = PollSchedule(url: polled.target.url, interval: polled.target.interval)
        self.timeout = TimeAmount(polled.target.timeout)
        self.pool = pool
        self.record = record
        self.logger = logger
        self.firstPollEnded = firstPollEnded
        self.alarms = context.alarms
        self.alarm = AlarmClock.Alarm { [weak self] in self?.alarmRang() }
        self.client = TargetClient(polled, in: context, resolver: resolver, pool: pool) { [weak self] in self?.fetched($0) }
    }

    /// Schedules the first poll.
    func start() {
        wait(until: schedule.first(from: .now()))
    }

    /// Ends the loop finally. A poll under way is cut off and not recorded.
    /// - Returns: when its connections are closed.
    func stop() -> EventLoopFuture<Void> {
        alarm?.stop()
        alarm = nil
        if case .decoding(let job) = state { job.cancel() }
        state = .stopped
        firstPollEnded = nil
        defer { client = nil }
        return client?.stop() ?? eventLoop.makeSucceededVoidFuture()
    }

    /// Changes the app's name in the log.
    func rename(to name: AppName) { self.name = name }

    private func wait(until moment: NIODeadline) {
        state = .waiting
        set(moment)
    }

    private func set(_ moment: NIODeadline) {
        if let alarm { alarms.set(alarm, to: moment) }
    }

    private func alarmRang() {
        switch state {
        case .waiting:
            state = .polling
            began = .now()
            // In whole milliseconds, so that polls which begin together share the moment of their deadline too.
            let deadline = (began + timeout).roundedUpToMilliseconds
            set(deadline)
            client?.start(until: deadline)
        case .polling:
            client?.timeOut()
        case .decoding, .stopped:
            // A body that was complete in time counts, even if the thread pool is busy.
            break
        }
    }

    private func fetched(_ result: Result<PolledBody, PollFailure>) {
        guard case .polling = state else { return }
        switch result {
        case .failure(let failure):
            ended(record(PollOutcome(failure), Self.duration(since: began)))
        case .success(let body):
            let job = pool.decode(body, on: eventLoop) { [record, began] in
                record($0, Self.duration(since: began))
            } ended: { [weak self] outcome in
                self?.ended(outcome)
            }
            if let job { state = .decoding(job) }
        }
    }

    private func ended(_ outcome: PollOutcome) {
        if case .stopped = state { return }
        if let change = health.update(outcome) { log(change) }
        wait(until: schedule.next(after: began, endedAt: .now()))
        if let firstPollEnded {
            self.firstPollEnded = nil
            firstPollEnded()
        }
    }

    private static func duration(since began: NIODeadline) -> Duration { .nanoseconds((NIODeadline.now() - began).nanoseconds) }

    private func log(_ change: PollHealth.Change) {
        let name: Logger.MetadataValue = .stringConvertible(name)
        switch change {
        case .becameFailing(let reason):
            logger.warning("target is failing", metadata: [LogKey.target: name, LogKey.error: .string(reason)])
        case .failsDifferently(let reason):
            logger.debug("target is failing for another reason", metadata: [LogKey.target: name, LogKey.error: .string(reason)])
        case .recovered:
            logger.notice("target answers again", metadata: [LogKey.target: name])
        }
    }
}

extension NIODeadline {
    fileprivate var roundedUpToMilliseconds: NIODeadline {
        let millisecond: UInt64 = 1_000_000
        let rest = uptimeNanoseconds % millisecond
        return rest == 0 ? self : .uptimeNanoseconds(uptimeNanoseconds - rest + millisecond)
    }
}

/// Wakes the target loops of one event loop with a single timer. `PollSchedule` lets polls start at the same moments, and alarms of one
/// moment cost one wake-up. Hundreds of targets do not slow down the event loop's other timers. Belongs to its event loop.
final class AlarmClock: NIOScheduledCallbackHandler {
    /// One alarm, set again and again.
    final class Alarm {
        /// `nil` if the alarm is not set. After a change of the moment, the old entry stays in the queue and does not ring.
        fileprivate var moment: NIODeadline?
        fileprivate var ring: (() -> Void)?

        /// - Parameter ring: called on the event loop; may set the alarm again. Released by `stop()`.
        init(ring: @escaping () -> Void) {
            self.ring = ring
        }

        /// The alarm does not ring again. Releases its closure.
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
            moments.insert(moment, at: moments.insertionIndex(of: moment))
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
        // It fails only on a loop that is shut down, when polling has ended.
        guard let callback = try? eventLoop.assumeIsolated().scheduleCallback(at: first, handler: self) else { return }
        scheduled = (callback, first)
    }
}

extension [NIODeadline] {
    /// Where `moment` belongs in this array, which is in order and does not contain it.
    fileprivate func insertionIndex(of moment: NIODeadline) -> Int {
        var range = startIndex..<endIndex
        while !range.isEmpty {
            let middle = range.lowerBound + range.count / 2
            range = self[middle] < moment ? (middle + 1)..<range.upperBound : range.lowerBound..<middle
        }
        return range.lowerBound
    }
}
