import Logging
import NIOCore
import NIOPosix
import Proxy
import Synchronization
import TLS

/// The running program: a list of parts, and the threads that they share. `init` makes them, `start` runs them, `stop` ends them.
actor Daemon {
    /// The addresses of the listeners.
    struct Addresses: Sendable, Equatable {
        /// `HOST:PORT` of each scrape listener, in the order of the configuration.
        var scrape: [String] = []
        /// `HOST:PORT` of the TCP receiver.
        var tcp: String?
        /// The path of the Unix receiver's socket.
        var unix: String?
        /// `HOST:PORT` of the HTTP receiver.
        var http: String?
    }

    /// The configuration that runs.
    private(set) var loaded: LoadedConfig
    let logger: Logger
    /// The counters of all parts.
    let metrics: SelfMetrics
    /// The daemon as the routes see it.
    let lifecycle: DaemonLifecycle
    private let cores: Int
    /// They run until the process ends, or until `endEventLoops`.
    let group: MultiThreadedEventLoopGroup
    private let blockingWork: ThreadPool
    /// One thread, for pages and lists of many apps: requests for them take no time from scrapes and reloads.
    private let pageThread: ThreadPool
    /// One thread, only for checking passwords: a flood of wrong ones takes no time from anything else.
    private let passwordThread: ThreadPool
    private let store: MetricStore
    private let decoding: PushDecoding
    private let memoryReturn: MemoryReturn
    private let listeners: Listeners
    /// In the order of `Part`.
    private let parts: [any Part]
    /// Not part of the contexts, so that clients resume their sessions across a reload.
    private let tickets = SessionTickets()
    private let handshakeLimit: HandshakeLimit
    /// The contexts in force. A reload keeps those whose settings and files have not changed.
    private var contexts: TLSContexts?
    /// That the limit of open files is too low, as the log has it. Each reload would repeat it.
    private var openFilesWarning: String?
    private var isStopping = false

    /// Makes everything that needs no port: store, threads, routes, parts.
    /// - Parameter inherited: sockets that the service manager has passed.
    init(_ loaded: LoadedConfig, inherited: InheritedSockets = .none, logger: Logger) {
        let config = loaded.config
        let cores = AvailableCores.count()
        let threads = config.exporter.workerThreads ?? cores
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let blockingWork = ThreadPool("blocking work", threads: max(2, cores))
        let pageThread = ThreadPool("pages", isLowPriority: true)
        let passwordThread = ThreadPool("passwords", isLowPriority: true)
        let lag = EventLoopLag(group)
        let metrics = SelfMetrics(
            version: ProgramVersion.current, start: SystemClock.time(), readLag: { .nanoseconds(lag.longest().nanoseconds) },
            readProcess: ProcessReading.now)
        let store = MetricStore(
            limits: StoreLimits(config), answering: metrics.held[.answering], returnMemory: MemoryReturn.returnNow)
        let intake = Intake(store: store, clock: SystemClock.now)
        let checker = MetricsChecker(store: store, metrics: metrics)
        let poller = Poller(group: group, intake: intake, metrics: metrics, logger: logger)
        let lifecycle = DaemonLifecycle(startTime: SystemClock.time(), reloads: metrics.reloads, logger: logger) { poller.hasPolledAll }
        let router = Router(
            store: store, lifecycle: lifecycle, metrics: metrics, offload: ThreadPoolOffload(blockingWork),
            pageOffload: ThreadPoolOffload(pageThread), checker: checker, clock: SystemClock.now)
        let basicAuth = BasicAuth(
            users: config.exporter.basicAuthUsers, checker: PasswordThread(passwordThread), routes: router)
        let browserGuard = BrowserGuard(allowedHosts: config.exporter.allowedHosts, routes: basicAuth)
        let server = ScrapeServer(
            responder: browserGuard, metrics: metrics, clock: SystemClock.time,
            maxConnections: DescriptorBudget(config, eventLoops: threads).scrape, group: group, logger: logger)
        decoding = PushDecoding(turns: server.parts.turns, largeMessages: LargeMessages(budget: metrics.held[.pushing]))
        let pushers = BasicAuthUsers(config.receiver.basicAuthUsers, checker: PasswordThread(passwordThread))
        let routes = PushRoutes(
            intake: intake, groups: PushGroups(intake), users: pushers, browserGuard: browserGuard, lifecycle: lifecycle)
        let http = HTTPReceiver.Shared(
            routes: routes, parts: server.parts, metrics: metrics, largeMessages: decoding.largeMessages, group: group, logger: logger)
        listeners = Listeners(
            inherited: inherited, server: server, intake: intake, metrics: metrics, decoding: decoding, http: http, lifecycle: lifecycle,
            group: group, eventLoops: threads, blockingWork: blockingWork, logger: logger)
        parts = [
            listeners, poller, MetricsChecks(checker, logger: logger),
            StateFile(intake, metrics: metrics.stateFile, blockingWork: blockingWork, group: group, logger: logger),
            CoreSettings(
                intake: intake, metrics: metrics, lifecycle: lifecycle, basicAuth: basicAuth, pushers: pushers, browserGuard: browserGuard),
        ]
        handshakeLimit = HandshakeLimit(metrics.held)
        memoryReturn = MemoryReturn(pool: blockingWork) {
            let connections = metrics.currentListeners.reduce(0) { $0 + $1.connections.value } * MemoryReturn.connectionBytes
            let held = HeldBytes.Kind.allCases.map { (peak: metrics.held[$0].takePeak(), now: metrics.held[$0].used) }
            return MemoryReturn.Levels(freed: store.freedBytes, held: held + [(peak: connections, now: connections)])
        }
        self.loaded = loaded
        self.loaded.config.exporter.workerThreads = threads
        self.cores = cores
        self.store = store
        self.logger = logger
        self.metrics = metrics
        self.lifecycle = lifecycle
        self.group = group
        self.blockingWork = blockingWork
        self.pageThread = pageThread
        self.passwordThread = passwordThread
    }

    /// Opens every listener and begins to poll. Everything that can fail happens before a connection is accepted.
    /// - Throws: every problem found. Everything is closed then.
    @discardableResult
    func start() async throws(ConfigProblems) -> Addresses {
        for warning in loaded.warnings.limited { logger.log(warning) }
        do throws(ConfigProblems) {
            try startThreads()
            let prepared = try await prepareParts(for: prepare(loaded), ReloadPlan(from: nil, to: loaded), isReload: false)
            for warning in prepared.new.contexts.warnings.inOrderOfPosition.limited { logger.log(warning) }
            commit(prepared)
        } catch {
            await endThreads()
            throw error
        }
        lifecycle.listenersAreUp()
        memoryReturn.start(on: group.next())
        listeners.watchSocketFiles()
        return addresses
    }

    /// Makes everything of a configuration that can be made before anything is opened, on a thread for blocking work.
    /// - Throws: every problem found, or that the daemon has stopped.
    func prepare(_ new: LoadedConfig) async throws(ConfigProblems) -> PreparedConfig {
        let (tickets, handshakeLimit, contexts) = (tickets, handshakeLimit, contexts)
        let result = try? await runBlocking {
            Result { () throws(ConfigProblems) in
                try PreparedConfig(new, tickets: tickets, handshakeLimit: handshakeLimit, replacing: contexts)
            }
        }
        guard let result else { throw Self.stopping(new.origin.file) }
        return try result.get()
    }

    /// Puts another configuration in force, or changes nothing and throws. One reload at a time, from `prepare` on.
    /// - Returns: the changes; empty when nothing differs.
    /// - Throws: every problem found.
    @discardableResult
    func reload(to new: PreparedConfig) async throws(ConfigProblems) -> ReloadPlan {
        var planned = new.loaded
        planned.config.exporter.workerThreads = planned.config.exporter.workerThreads ?? cores
        var plan = ReloadPlan(from: loaded, to: planned)
        if let contexts, new.contexts.hasNewSystemAuthorities(since: contexts) {
            plan.changes.append("the certificate authorities of this machine have changed")
        }
        let prepared = try await prepareParts(for: new, plan, isReload: true)
        guard !isStopping else {
            await prepared.abandon()
            throw Self.stopping(new.loaded.origin.file)
        }
        commit(prepared)
        await listeners.restoreSocketFiles()
        return plan
    }

    /// Closes the listeners, lets exchanges in flight finish within `shutdown_timeout`, and ends every thread but the event loops.
    func stop() async {
        isStopping = true
        lifecycle.stopBegins()
        let time = loaded.config.exporter.shutdownTimeout
        var cut = 0
        for part in parts { cut += await part.stop(within: time) }
        if cut > 0 {
            logger.warning("connections closed unfinished after shutdown_timeout", metadata: [LogKey.count: "\(cut)"])
        }
        await endThreads()
    }

    /// Runs blocking work on a thread of the pool for it.
    /// - Throws: when the daemon has stopped.
    func runBlocking<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async throws -> Result {
        try await blockingWork.run(body)
    }

    /// Apps, targets and the last reload, in one line for the service manager.
    var status: String {
        let (apps, targets) = (store.count, loaded.config.poll.targets.count)
        let counts = "\(apps) \(apps == 1 ? "app" : "apps"), \(targets) \(targets == 1 ? "target" : "targets")"
        guard let last = metrics.reloads.now.last else { return "\(counts); configuration as at the start" }
        return "\(counts); last reload \(last.error == nil ? "succeeded" : "failed") at \(last.time.rfc3339)"
    }

    /// Returns when every event loop has run something.
    /// - Returns: false when they have ended.
    nonisolated func eventLoopsAnswer() async -> Bool {
        let answers = group.makeIterator().map { $0.submit {} }
        do {
            for answer in answers { try await answer.get() }
            return true
        } catch {
            return false
        }
    }

    /// The error of a reload during a stop or after it.
    static func stopping(_ file: String) -> ConfigProblems {
        ConfigProblems([ConfigProblem(file: file, position: nil, key: nil, message: "exporter-proxy is stopping")])
    }

    /// The addresses bound now.
    var addresses: Addresses { listeners.addresses }

    // MARK: - One change

    /// A configuration that every part has prepared.
    private struct PreparedParts {
        let new: PreparedConfig
        /// In reverse order of `Daemon.parts`: the listeners are committed last.
        var parts: [PreparedPart] = []

        func abandon() async {
            for part in parts { await part.abandon() }
        }
    }

    private func prepareParts(for new: PreparedConfig, _ plan: ReloadPlan, isReload: Bool) async throws(ConfigProblems) -> PreparedParts {
        var prepared = PreparedParts(new: new)
        // At a start the sockets listen first, so that connections wait while the state file is read. In a reload they come last: new
        // sockets can be seen from outside, so nothing else may fail after them.
        for part in isReload ? parts.reversed() : parts {
            do throws(ConfigProblems) {
                prepared.parts.append(try await part.prepare(new, plan))
            } catch {
                await prepared.abandon()
                throw error
            }
        }
        if !isReload { prepared.parts.reverse() }
        return prepared
    }

    private func commit(_ prepared: PreparedParts) {
        // The number of threads stays that of the start, and a later reload must compare with it.
        let threads = loaded.config.exporter.workerThreads
        let warning = DescriptorBudget(prepared.new.config, eventLoops: threads ?? cores).warning
        if let warning, warning != openFilesWarning { logger.warning("\(warning)") }
        openFilesWarning = warning
        for part in prepared.parts { part.commit() }
        contexts = prepared.new.contexts
        loaded = prepared.new.loaded
        loaded.config.exporter.workerThreads = threads
    }

    /// After `stop`, in a process that goes on, such as one that runs tests. NIO needs a new thread for it, and at the end of the program
    /// the system may grant none.
    func endEventLoops() async { try? await group.shutdownGracefully() }

    private func startThreads() throws(ConfigProblems) {
        do throws(ThreadError) {
            for pool in [blockingWork, pageThread, passwordThread] { try pool.start() }
            try decoding.largeMessages.start()
        } catch {
            throw loaded.problem(error)
        }
    }

    private func endThreads() async {
        await decoding.largeMessages.end()
        for pool in [passwordThread, pageThread, blockingWork] { await end(pool) }
    }

    /// Waits at most a second. A thread may be checking a costly password, or reading a file that does not answer, as on a network. The
    /// process can end without it.
    private func end(_ pool: ThreadPool) async {
        let eventLoop = group.any()
        let ended = eventLoop.makePromise(of: Void.self)
        pool.end { ended.succeed() }
        let deadline = eventLoop.scheduleTask(in: .seconds(1)) { ended.succeed() }
        try? await ended.futureResult.get()
        deadline.cancel()
    }
}

/// Settings of the core, which belong to no listener and no target. Setting a value that is in force already changes nothing.
private struct CoreSettings: Part {
    let intake: Intake
    let metrics: SelfMetrics
    let lifecycle: DaemonLifecycle
    let basicAuth: BasicAuth
    /// The users that may push over HTTP.
    let pushers: BasicAuthUsers
    let browserGuard: BrowserGuard

    func prepare(_ new: PreparedConfig, _ plan: ReloadPlan) -> PreparedPart {
        let config = new.config
        let rules = IntakeRules(config)
        return PreparedPart {
            intake.store.setLimits(StoreLimits(config))
            intake.rules = rules
            intake.setOwners(new.owners)
            metrics.held[.pushing].limit = config.receiver.maxInflightSize
            metrics.held[.polling].limit = config.poll.maxInflightSize
            metrics.held[.answering].limit = config.exporter.maxHeldSize
            metrics.isExposed = config.exporter.selfMetrics
            lifecycle.setEnabled(config.exporter.enableLifecycle)
            basicAuth.setUsers(config.exporter.basicAuthUsers)
            pushers.set(config.receiver.basicAuthUsers)
            browserGuard.setAllowedHosts(config.exporter.allowedHosts)
        }
    }
}

extension StoreLimits {
    fileprivate init(_ config: Config) {
        self.init(
            maxApps: config.receiver.maxApps, maxTotalSize: config.receiver.maxTotalSize, expireAfter: config.exporter.expireAfter)
    }
}

/// The daemon as the routes see it. It is made before the daemon and the reloader, which set its state.
final class DaemonLifecycle: Lifecycle {
    private enum Phase {
        case starting, listening, stopping
    }

    private struct State {
        var phase = Phase.starting
        var isEnabled = false
        var listeners: [ShownListener] = []
        var reloader: Reloader?
    }

    private let state = Mutex(State())
    private let startTime: Timestamp
    private let reloads: ReloadMetrics
    private let logger: Logger?
    /// Enough for people and scripts. Any client of the HTTP receiver can push and delete an app thousands of times a second.
    private let changes = LogLimiter(burst: 100)
    private let hasPolledAll: @Sendable () -> Bool

    /// - Parameters:
    ///   - startTime: of the program.
    ///   - reloads: have the result of the last one.
    ///   - logger: gets a line for each request that changes something, at most a hundred in ten seconds.
    ///   - hasPolledAll: whether the first poll of each target has ended once.
    init(startTime: Timestamp, reloads: ReloadMetrics, logger: Logger? = nil, hasPolledAll: @escaping @Sendable () -> Bool) {
        self.startTime = startTime
        self.reloads = reloads
        self.logger = logger
        self.hasPolledAll = hasPolledAll
    }

    var isReady: Bool { state.withLock { $0.phase } == .listening && hasPolledAll() }

    var isEnabled: Bool { state.withLock { $0.isEnabled } }

    var status: DaemonStatus {
        let listeners = state.withLock { $0.listeners }
        // Each listener has a lock of its own: never take one within the other.
        return DaemonStatus(startTime: startTime, listeners: listeners.map(\.status), lastReload: reloads.now.last)
    }

    func reload() async -> ReloadResult {
        guard let reloader = state.withLock({ $0.reloader }) else { return .failure(reason: "exporter-proxy is starting") }
        return await reloader.reload(because: .request)
    }

    func log(_ change: RequestedChange) {
        guard let suppressed = changes.admit() else { return }
        var metadata: Logger.Metadata = [
            LogKey.request: "\(change.request)", LogKey.status: "\(change.status)", LogKey.peer: "\(change.peer)",
        ]
        if suppressed > 0 { metadata[LogKey.suppressed] = "\(suppressed)" }
        logger?.info("change requested", metadata: metadata)
    }

    /// `POST /-/reload` asks this reloader from now on.
    func setReloader(_ reloader: Reloader) { state.withLock { $0.reloader = reloader } }

    /// Replaces the listeners that are shown.
    func show(_ listeners: [ShownListener]) { state.withLock { $0.listeners = listeners } }

    /// Whether `POST /-/reload` and the like are allowed from now on.
    func setEnabled(_ isEnabled: Bool) { state.withLock { $0.isEnabled = isEnabled } }

    func listenersAreUp() { state.withLock { $0.phase = .listening } }

    func stopBegins() { state.withLock { $0.phase = .stopping } }
}
