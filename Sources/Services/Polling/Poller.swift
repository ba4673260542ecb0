import Logging
import NIOCore
import Proxy
import Synchronization

/// The set of target loops. Every method may be called from any thread.
final class Poller: Part {
    /// A running loop and its event loop.
    private struct Running {
        let place: Place
        let loop: NIOLoopBoundBox<TargetLoop?>
        let tls: TargetTLS?

        private var eventLoop: any EventLoop { place.eventLoop }

        /// Ends the loop, after earlier calls on its event loop.
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

    /// An event loop, and the context that its target loops share.
    private struct Place {
        let eventLoop: any EventLoop
        let context: NIOLoopBoundBox<PollingContext?>
    }

    private struct State {
        var running: [TargetURL: Running] = [:]
        var places: [ObjectIdentifier: Place] = [:]
        /// The place and the number of the targets of each origin. They are polled in one place, so that they can share a connection.
        var origins: [TargetURL.Origin: (place: Place, targets: Int)] = [:]
        /// Targets whose first poll has not ended.
        var awaitingFirstPoll: Set<TargetURL> = []
        /// Whether all first polls had ended at one moment.
        var hasPolledAll = false
        var isEnded = false

        /// The place for a new target of this origin.
        mutating func place(for origin: TargetURL.Origin, in group: any EventLoopGroup) -> Place {
            if let (place, targets) = origins[origin] {
                origins[origin] = (place, targets + 1)
                return place
            }
            let eventLoop = group.next()
            let key = ObjectIdentifier(eventLoop)
            let place =
                places[key]
                ?? Place(eventLoop: eventLoop, context: .makeEmptyBox(valueType: PollingContext.self, eventLoop: eventLoop))
            places[key] = place
            origins[origin] = (place, 1)
            return place
        }

        mutating func noteFirstPolls() { hasPolledAll = hasPolledAll || awaitingFirstPoll.isEmpty }

        mutating func remove(_ url: TargetURL) -> Running? {
            awaitingFirstPoll.remove(url)
            guard let removed = running.removeValue(forKey: url) else { return nil }
            if let (place, targets) = origins[url.origin] { origins[url.origin] = targets > 1 ? (place, targets - 1) : nil }
            return removed
        }
    }

    private let group: any EventLoopGroup
    private let intake: Intake
    private let metrics: SelfMetrics
    private let logger: Logger
    private let resolver: HostResolver
    private let pool: PollingPool
    private let state = Mutex(State())

    /// - Parameters:
    ///   - group: the event loops of the target loops.
    ///   - intake: takes the outcomes of polls.
    init(
        group: any EventLoopGroup, intake: Intake, metrics: SelfMetrics, logger: Logger, resolver: HostResolver = HostResolver()
    ) {
        self.group = group
        self.intake = intake
        self.metrics = metrics
        self.logger = logger
        self.resolver = resolver
        self.pool = PollingPool(budget: metrics.held[.polling])
    }

    func prepare(_ new: PreparedConfig, _ plan: ReloadPlan) throws(ConfigProblems) -> PreparedPart {
        do throws(ThreadError) { try startThreads() } catch { throw new.loaded.problem(error) }
        return PreparedPart { [self] in
            setRefusesOtherFormats(new.config.metrics.validate != .off)
            // The plan compares configurations: it does not know of changed authorities of the system.
            let starting = Set(plan.starts.map(\.url)).union(urls(withNewContextsIn: new.targets))
            change(
                stopping: plan.stops, renaming: plan.renames.filter { !starting.contains($0.url) },
                starting: new.targets.filter { starting.contains($0.target.url) })
            guard !starting.isEmpty || !plan.stops.isEmpty || !plan.renames.isEmpty else { return }
            logger.info("polling", metadata: [LogKey.count: "\(new.config.poll.targets.count)"])
        }
    }

    func stop(within time: Duration) async -> Int {
        try? await end().get()
        return 0
    }

    /// Makes the threads for large bodies. Another call changes nothing.
    func startThreads() throws(ThreadError) { try pool.start() }

    /// Whether a poll fails if its body is clearly HTML or JSON.
    func setRefusesOtherFormats(_ refuses: Bool) { pool.setRefusesOtherFormats(refuses) }

    /// Whether the first poll of every target of the first configuration has succeeded or failed. Targets that are added later do not
    /// count.
    var hasPolledAll: Bool { state.withLock { $0.hasPolledAll } }

    /// Stops some targets, renames others and starts others. In the store all of it happens at one moment. Other targets are not disturbed.
    /// - Parameters:
    ///   - gone: polled no longer; their metrics leave.
    ///   - renamed: polled already, and now under another name: they keep schedule, connection and metrics.
    ///   - new: polled from now on; a URL that is polled already is replaced and keeps its metrics.
    func change(stopping gone: [TargetURL], renaming renamed: [Target], starting new: [PolledTarget]) {
        for url in gone {
            let running = state.withLock { $0.remove(url) }
            // The store drops what a poll that ends meanwhile records.
            running?.stop()
            metrics.removeTarget(url)
        }
        guard state.withLock({ !$0.isEnded }) else { return }
        intake.store.change(unregistering: gone, registering: renamed + new.map(\.target))
        for target in renamed {
            // Its counters continue under the new name.
            _ = metrics.addTarget(target)
            state.withLock { $0.running[target.url] }?.rename(to: target.name)
        }
        state.withLock { state in
            for polled in new where state.running[polled.target.url] == nil { state.awaitingFirstPoll.insert(polled.target.url) }
            state.noteFirstPolls()
        }
        for polled in new { start(polled) }
    }

    /// Ends every poll finally. The stored metrics stay.
    /// - Returns: when every connection is closed.
    func end() -> EventLoopFuture<Void> {
        let running = state.withLock { state in
            state.isEnded = true
            defer { state.running = [:] }
            return Array(state.running.values)
        }
        // First, so that no loop takes the end of its lookup for a failure of its target.
        let stopped = running.map { $0.stop() }
        resolver.end()
        let eventLoop = group.any()
        return EventLoopFuture.andAllComplete(stopped + [pool.end(on: eventLoop)], on: eventLoop)
    }

    /// The targets that are polled already, with other TLS contexts than those of `targets`.
    private func urls(withNewContextsIn targets: [PolledTarget]) -> [TargetURL] {
        let running = state.withLock { $0.running }
        return targets.filter { new in
            guard let old = running[new.target.url] else { return false }
            return old.tls?.own !== new.tls?.own || old.tls?.foreign !== new.tls?.foreign
        }.map(\.target.url)
    }

    private func start(_ polled: PolledTarget) {
        let url = polled.target.url
        let (before, new) = state.withLock { state -> (Running?, Running?) in
            guard !state.isEnded else { return (nil, nil) }
            let before = state.running[url]
            // On the same event loop the old loop is gone before the new one begins.
            let place = before?.place ?? state.place(for: url.origin, in: group)
            let new = Running(
                place: place, loop: .makeEmptyBox(valueType: TargetLoop.self, eventLoop: place.eventLoop), tls: polled.tls)
            state.running[url] = new
            return (before, new)
        }
        guard let new else { return }
        before?.stop()
        let polls = metrics.addTarget(polled.target)
        // Of the target's own connections: a redirect elsewhere is never followed with the certificate.
        polls.setCertificate(notAfter: url.origin.isHTTPS ? polled.tls?.certificateNotAfter : nil)
        let (resolver, pool, logger, intake) = (resolver, pool, logger, intake)
        let place = new.place
        place.eventLoop.execute { [weak self] in
            let context = place.context.value ?? PollingContext(eventLoop: place.eventLoop)
            place.context.value = context
            let loop = TargetLoop(polled, in: context, resolver: resolver, pool: pool, logger: logger) { outcome, took in
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
        state.withLock { state in
            state.awaitingFirstPoll.remove(url)
            state.noteFirstPolls()
        }
    }
}

/// A target with everything that polling it needs. Everything that can fail has succeeded before.
struct PolledTarget: Sendable {
    let target: Target
    let request: PollRequest
    /// For `https`, and for redirects to it; `nil` refuses both.
    let tls: TargetTLS?

    /// - Parameter version: of exporter-proxy.
    init(target: Target, tls: TargetTLS?, version: String) throws(PollRequest.InvalidRequest) {
        self.target = target
        self.request = try PollRequest(target: target, version: version)
        self.tls = tls
    }

    /// The settings of a connection to the target's own origin. Targets of one origin share a connection only when this is equal.
    struct ConnectionTerms: Equatable {
        /// The object itself. Its address alone would not keep it alive, and a later context could get the same address.
        fileprivate let context: ClientContext?
        fileprivate let serverName: String?
        fileprivate let proxy: HTTPProxy?

        static func == (a: ConnectionTerms, b: ConnectionTerms) -> Bool {
            a.context === b.context && a.serverName == b.serverName && a.proxy == b.proxy
        }
    }

    /// The settings of a connection to the target's own origin.
    var connectionTerms: ConnectionTerms {
        let isHTTPS = target.url.origin.isHTTPS
        return ConnectionTerms(
            context: isHTTPS ? tls?.own : nil, serverName: isHTTPS ? tls?.serverName : nil, proxy: target.proxyURL)
    }
}
