import Logging
import NIOCore
import Proxy
import Synchronization

/// The set of target loops. Every method may be called from any thread.
final class Poller: Sendable {
    /// A running loop and where it lives.
    private struct Running {
        let eventLoop: any EventLoop
        let loop: NIOLoopBoundBox<TargetLoop?>

        /// Ends the loop, after whatever was begun on its event loop before.
        @discardableResult
        func stop() -> EventLoopFuture<Void> {
            eventLoop.flatSubmit { [loop, eventLoop] in
                defer { loop.value = nil }
                return loop.value?.stop() ?? eventLoop.makeSucceededVoidFuture()
            }
        }
    }

    private struct State {
        var running: [TargetURL: Running] = [:]
        /// Targets whose first poll has not ended.
        var awaitingFirstPoll: Set<TargetURL> = []
        var isShutDown = false
    }

    private let group: any EventLoopGroup
    private let store: MetricStore
    private let clock: @Sendable () -> Timestamp
    private let logger: Logger
    private let resolver: HostResolver
    private let state = Mutex(State())

    /// - Parameters:
    ///   - group: where the loops run, dealt out in turn.
    ///   - clock: the wall clock, for the time of an update.
    init(
        group: any EventLoopGroup, store: MetricStore, clock: @escaping @Sendable () -> Timestamp, logger: Logger,
        resolver: HostResolver = HostResolver()
    ) {
        self.group = group
        self.store = store
        self.clock = clock
        self.logger = logger
        self.resolver = resolver
    }

    /// Whether the first poll of every target polled now has ended, well or not.
    var firstPollsEnded: Bool { state.withLock { $0.awaitingFirstPoll.isEmpty } }

    /// Registers targets and polls them from now on; a URL that is polled already is replaced.
    func start(_ targets: [PolledTarget]) {
        for polled in targets { start(polled) }
    }

    /// Ends the polls of these targets and removes their metrics; others are not disturbed.
    func stop(_ urls: [TargetURL]) {
        for url in urls {
            let running = state.withLock { state in
                state.awaitingFirstPoll.remove(url)
                return state.running.removeValue(forKey: url)
            }
            running?.stop()
            // What a poll that ends meanwhile still records, the store drops.
            store.unregister(url)
        }
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
            let eventLoop = before?.eventLoop ?? group.next()
            let new = Running(eventLoop: eventLoop, loop: .makeEmptyBox(valueType: TargetLoop.self, eventLoop: eventLoop))
            state.running[url] = new
            if before == nil { state.awaitingFirstPoll.insert(url) }
            return (before, new)
        }
        guard let new else { return }
        before?.stop()
        store.register(polled.target)
        let (resolver, logger, store, clock) = (resolver, logger, store, clock)
        new.eventLoop.execute { [weak self] in
            let loop = TargetLoop(polled, on: new.eventLoop, resolver: resolver, logger: logger) { outcome in
                store.record(outcome, for: url, at: clock())
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
