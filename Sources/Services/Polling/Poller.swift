import Logging
import NIOCore
import Proxy
import Synchronization

/// The set of target loops. Every method may be called from any thread.
final class Poller: Sendable {
    /// A running loop and where it lives.
    private struct Running {
        let home: Home
        let loop: NIOLoopBoundBox<TargetLoop?>

        private var eventLoop: any EventLoop { home.eventLoop }

        /// Ends the loop, after whatever was begun on its event loop before.
        @discardableResult
        func stop() -> EventLoopFuture<Void> {
            eventLoop.flatSubmit { [loop, eventLoop] in
                defer { loop.value = nil }
                return loop.value?.stop() ?? eventLoop.makeSucceededVoidFuture()
            }
        }

        func rename(to name: AppName) {
            eventLoop.execute { loop.value?.rename(to: name) }
        }
    }

    private struct State {
        var running: [TargetURL: Running] = [:]
        var homes: [ObjectIdentifier: Home] = [:]
        /// Targets whose first poll has not ended.
        var awaitingFirstPoll: Set<TargetURL> = []
        var isShutDown = false

        mutating func home(on eventLoop: any EventLoop) -> Home {
            let key = ObjectIdentifier(eventLoop)
            let home = homes[key] ?? Home(eventLoop: eventLoop, alarms: .makeEmptyBox(valueType: AlarmClock.self, eventLoop: eventLoop))
            homes[key] = home
            return home
        }
    }

    /// An event loop, and what rings there for all its target loops.
    private struct Home {
        let eventLoop: any EventLoop
        let alarms: NIOLoopBoundBox<AlarmClock?>
    }

    private let group: any EventLoopGroup
    private let intake: Intake
    private let metrics: SelfMetrics
    private let logger: Logger
    private let resolver: HostResolver
    private let state = Mutex(State())

    /// - Parameters:
    ///   - group: where the loops run, dealt out in turn.
    ///   - intake: takes what the targets answer.
    init(
        group: any EventLoopGroup, intake: Intake, metrics: SelfMetrics, logger: Logger, resolver: HostResolver = HostResolver()
    ) {
        self.group = group
        self.intake = intake
        self.metrics = metrics
        self.logger = logger
        self.resolver = resolver
    }

    /// Whether the first poll of every target polled now has ended, well or not.
    var firstPollsEnded: Bool { state.withLock { $0.awaitingFirstPoll.isEmpty } }

    /// Ends some polls, names others anew and begins others, all at one moment for who looks at the metrics. Targets that are not named
    /// are not disturbed.
    /// - Parameters:
    ///   - gone: polled no longer; their metrics leave.
    ///   - renamed: polled already, and now under another name: they keep schedule, connection and metrics.
    ///   - new: polled from now on; a URL that is polled already is replaced and keeps its metrics.
    func change(stopping gone: [TargetURL], renaming renamed: [Target], starting new: [PolledTarget]) {
        for url in gone {
            let running = state.withLock { state in
                state.awaitingFirstPoll.remove(url)
                return state.running.removeValue(forKey: url)
            }
            // What a poll that ends meanwhile still records, the store drops.
            running?.stop()
            metrics.removeTarget(url)
        }
        guard state.withLock({ !$0.isShutDown }) else { return }
        intake.store.change(unregistering: gone, registering: renamed + new.map(\.target))
        for target in renamed { _ = metrics.addTarget(target) }
        for target in renamed { state.withLock { $0.running[target.url] }?.rename(to: target.name) }
        for polled in new { start(polled) }
    }

    /// Registers targets and polls them from now on; a URL that is polled already is replaced.
    func start(_ targets: [PolledTarget]) {
        change(stopping: [], renaming: [], starting: targets)
    }

    /// Ends the polls of these targets and removes their metrics; others are not disturbed.
    func stop(_ urls: [TargetURL]) {
        change(stopping: urls, renaming: [], starting: [])
    }

    /// Ends every poll for good; what is stored stays.
    /// - Returns: when every connection is closed.
    @discardableResult
    func shutdown() -> EventLoopFuture<Void> {
        let running = state.withLock { state in
            state.isShutDown = true
            defer { state.running = [:] }
            return Array(state.running.values)
        }
        return EventLoopFuture.andAllComplete(running.map { $0.stop() }, on: group.any())
    }

    private func start(_ polled: PolledTarget) {
        let url = polled.target.url
        let (before, new) = state.withLock { state -> (Running?, Running?) in
            guard !state.isShutDown else { return (nil, nil) }
            let before = state.running[url]
            // On the same event loop the old loop is gone before the new one begins.
            let home = before?.home ?? state.home(on: group.next())
            let new = Running(home: home, loop: .makeEmptyBox(valueType: TargetLoop.self, eventLoop: home.eventLoop))
            state.running[url] = new
            if before == nil { state.awaitingFirstPoll.insert(url) }
            return (before, new)
        }
        guard let new else { return }
        before?.stop()
        let polls = metrics.addTarget(polled.target)
        let (resolver, logger, intake) = (resolver, logger, intake)
        let home = new.home
        home.eventLoop.execute { [weak self] in
            let alarms = home.alarms.value ?? AlarmClock(eventLoop: home.eventLoop)
            home.alarms.value = alarms
            let loop = TargetLoop(polled, on: home.eventLoop, alarms: alarms, resolver: resolver, logger: logger) { outcome, took in
                let recorded = intake.record(outcome, for: url)
                polls.ended(recorded, after: took)
                return recorded
            } firstPollEnded: { [weak self] in
                self?.firstPollEnded(of: url)
            }
            new.loop.value = loop
            loop.start()
        }
    }

    private func firstPollEnded(of url: TargetURL) {
        _ = state.withLock { $0.awaitingFirstPoll.remove(url) }
    }
}
