public import Logging
import NIOCore
import NIOPosix
public import Proxy
import TLS

/// What runs right now. All that it owns is made in `start` or by a reload, and ends in `stop`.
public actor Daemon {
    /// The addresses bound, by what listens there.
    public struct Addresses: Sendable, Equatable {
        /// `HOST:PORT` of each scrape listener, in the order of the configuration.
        public var scrape: [String] = []
        /// `HOST:PORT` of the TCP receiver.
        public var tcp: String?
        /// The path of the Unix receiver's socket.
        public var unix: String?
    }

    /// The configuration that runs.
    public private(set) var loaded: LoadedConfig
    let logger: Logger
    /// What all parts count.
    let metrics: SelfMetrics
    /// What the routes ask of the daemon.
    let lifecycle: DaemonLifecycle
    private let group: MultiThreadedEventLoopGroup
    private let eventLoops: Int
    private let blockingWork: NIOThreadPool
    /// One thread, for pages and lists of many apps: who asks for them takes no time from scrapes and reloads.
    private let pageThread: NIOThreadPool
    private let store: MetricStore
    /// One thread, for checking passwords alone: a flood of wrong ones takes no time from anything else.
    private let passwordThread: NIOThreadPool
    /// Who may scrape; told of new users by a reload.
    private let basicAuth: BasicAuth
    /// What browsers may be made to ask for; told of new hosts by a reload.
    private let browserGuard: BrowserGuard
    private let intake: Intake
    private let decoding: PushDecoding
    private let checks: MetricsChecks
    private let server: ScrapeServer
    private let poller: Poller
    /// Beside the contexts, so that clients resume their sessions across a reload.
    private let tickets = SessionTickets()
    private let handshakeLimit: HandshakeLimit
    /// What runs; a reload takes over the contexts whose settings and files have not changed.
    private var contexts: TLSContexts?
    private let memoryReturn: MemoryReturn
    private var listeners: [RunningListener] = []
    /// Listeners that closed and whose connections have not all ended.
    private var draining: [ObjectIdentifier: Listener] = [:]
    private var isStopping = false
    private var isRestoringSocketFiles = false
    /// Unix sockets whose files have vanished and could not be made again: reported once.
    private var lostSocketFiles: Set<String> = []

    /// Makes what needs no port: store, threads, routes.
    public init(_ loaded: LoadedConfig, logger: Logger) {
        let config = loaded.config
        let cores = AvailableCores.count()
        let threads = config.exporter.workerThreads ?? cores
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let blockingWork = NIOThreadPool(numberOfThreads: max(2, cores))
        let pageThread = NIOThreadPool(numberOfThreads: 1)
        let lag = EventLoopLag(group)
        let metrics = SelfMetrics(
            version: ProgramVersion.current, start: SystemClock.time(), readLag: { .nanoseconds(lag.longest().nanoseconds) },
            readProcess: ProcessReading.now)
        metrics.isExposed = config.exporter.selfMetrics
        metrics.held.setLimits(config)
        let store = MetricStore(limits: StoreLimits(config), answering: metrics.held[.answering])
        let intake = Intake(store: store, clock: SystemClock.now)
        let checker = MetricsChecker(store: store, metrics: metrics)
        let poller = Poller(group: group, intake: intake, metrics: metrics, logger: logger)
        let lifecycle = DaemonLifecycle(startTime: SystemClock.time(), reloads: metrics.reloads, logger: logger) { poller.firstPollsEnded }
        let router = Router(
            store: store, lifecycle: lifecycle, metrics: metrics, offload: ThreadPoolOffload(blockingWork),
            pageOffload: ThreadPoolOffload(pageThread, isLowPriority: true), checker: checker, clock: SystemClock.now)
        let passwordThread = NIOThreadPool(numberOfThreads: 1)
        let basicAuth = BasicAuth(
            users: config.exporter.basicAuthUsers, checker: PasswordThread(passwordThread), routes: router)
        self.loaded = loaded
        self.logger = logger
        self.metrics = metrics
        handshakeLimit = HandshakeLimit(metrics.held)
        self.group = group
        eventLoops = max(threads, 1)
        self.passwordThread = passwordThread
        self.basicAuth = basicAuth
        browserGuard = BrowserGuard(allowedHosts: config.exporter.allowedHosts, routes: basicAuth)
        self.blockingWork = blockingWork
        self.pageThread = pageThread
        self.store = store
        self.poller = poller
        self.lifecycle = lifecycle
        memoryReturn = MemoryReturn(pool: blockingWork) {
            let connections = metrics.currentListeners.reduce(0) { $0 + $1.connections.value } * MemoryReturn.connectionBytes
            let held = HeldBytes.Kind.allCases.map { (peak: metrics.held[$0].takePeak(), now: metrics.held[$0].used) }
            return MemoryReturn.Levels(freed: store.freedBytes, held: held + [(peak: connections, now: connections)])
        }
        self.intake = intake
        decoding = PushDecoding(group: group, budget: metrics.held[.pushing])
        checks = MetricsChecks(checker, logger: logger)
        server = ScrapeServer(
            responder: browserGuard, metrics: metrics, clock: SystemClock.time,
            maxConnections: DescriptorBudget(config, eventLoops: max(threads, 1)).scrape, group: group, logger: logger)
    }

    /// Opens every listener and begins to poll. Everything that can fail happens before a connection is accepted.
    /// - Throws: every problem found; nothing is left open then.
    @discardableResult
    public func start() async throws(ConfigProblems) -> Addresses {
        for warning in loaded.warnings { logger.log(warning) }
        blockingWork.start()
        pageThread.start()
        passwordThread.start()
        decoding.largeMessages.start()
        do throws(ConfigProblems) {
            commit(try await prepare(ReloadPlan(from: nil, to: loaded), for: loaded))
        } catch {
            await shutDownThreads()
            throw error
        }
        lifecycle.listenersAreUp()
        memoryReturn.start(on: group.next())
        watchSocketFiles()
        return addresses
    }

    /// Runs another configuration in place of this one, or, when that is not possible, this one as before. One reload at a time.
    /// - Returns: what was done; empty when nothing differs.
    /// - Throws: every problem found; nothing has changed then.
    @discardableResult
    public func reload(to new: LoadedConfig) async throws(ConfigProblems) -> ReloadPlan {
        let plan = ReloadPlan(from: loaded, to: new)
        let prepared = try await prepare(plan, for: new)
        guard !isStopping else {
            await prepared.abandon()
            throw ConfigProblems([ConfigProblem(file: new.origin.file, position: nil, key: nil, message: "exporter-proxy is stopping")])
        }
        commit(prepared)
        await restoreSocketFiles()
        return plan
    }

    /// Accepts nothing new, lets what is in flight finish within `shutdown_timeout`, and ends every thread.
    public func stop() async {
        isStopping = true
        lifecycle.stopBegins()
        let time = loaded.config.exporter.shutdownTimeout
        let polls = poller.shutdown()
        var cut = 0
        await withTaskGroup(of: Int.self) { drains in
            for listener in listeners.map(\.listener) + draining.values { drains.addTask { await listener.drain(within: time) } }
            for await count in drains { cut += count }
        }
        try? await polls.get()
        if cut > 0 {
            logger.warning("connections closed unfinished after shutdown_timeout", metadata: [LogKey.count: "\(cut)"])
        }
        listeners = []
        draining = [:]
        await shutDownThreads()
    }

    /// Runs what may wait for a disk, where it holds up nobody.
    func runBlocking<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async throws -> Result {
        try await blockingWork.runIfActive(body)
    }

    /// The addresses bound now.
    public var addresses: Addresses {
        var addresses = Addresses()
        for running in listeners {
            switch running.identity {
            case .scrape: addresses.scrape.append(running.listener.name)
            case .tcp: addresses.tcp = running.listener.name
            case .unix: addresses.unix = running.listener.name
            }
        }
        return addresses
    }

    // MARK: - Socket files

    /// How often the files of Unix sockets are looked for.
    private static let socketFilePeriod = TimeAmount.seconds(2)

    /// Looks for the files of Unix sockets from now on, until the event loops end.
    private func watchSocketFiles() {
        group.next().scheduleRepeatedTask(initialDelay: Self.socketFilePeriod, delay: Self.socketFilePeriod) { [weak self] _ in
            guard let self else { return }
            Task { await self.restoreSocketFiles() }
        }
    }

    /// Makes the files of Unix sockets that have vanished again.
    private func restoreSocketFiles() async {
        guard !isRestoringSocketFiles else { return }
        isRestoringSocketFiles = true
        defer { isRestoringSocketFiles = false }
        for listener in listeners.map(\.listener) where listener.socketFile != nil {
            let metadata: Logger.Metadata = [LogKey.listener: "\(listener.name)"]
            do {
                let bound = try await runBlocking { Result { try listener.bindLostFile() } }
                guard let pending = try bound.get() else { continue }
                try await listener.replaceSocket(by: pending)
                lostSocketFiles.remove(listener.name)
                logger.warning("the socket's file had vanished and was made again", metadata: metadata)
            } catch {
                guard lostSocketFiles.insert(listener.name).inserted else { continue }
                logger.error(
                    "the socket's file has vanished and cannot be made again",
                    metadata: metadata.merging([LogKey.error: "\(error)"]) { $1 })
            }
        }
    }

    // MARK: - Everything that can fail

    private func prepare(_ plan: ReloadPlan, for new: LoadedConfig) async throws(ConfigProblems) -> PreparedReload {
        let groundwork = try Groundwork(new, tickets: tickets, handshakeLimit: handshakeLimit, replacing: contexts)
        var prepared = PreparedReload(plan: plan, loaded: new, groundwork: groundwork)
        let sharing = listeners.filter { $0.hasPort(of: plan.opens) }
        for running in sharing { running.listener.setSharesPort(true) }
        var problems = bind(&prepared, sharesPort: !sharing.isEmpty)
        // What is bound does not listen before all is bound, and no socket's file is replaced before all listen: nobody's connection is
        // taken by a listener that will not be.
        if problems.isEmpty { problems = await listen(prepared.opened) }
        for running in sharing + prepared.opened { running.listener.setSharesPort(false) }
        if problems.isEmpty { problems = publish(prepared.opened, new) }
        guard problems.isEmpty else {
            await prepared.abandon()
            throw ConfigProblems(problems.inOrderOfPosition)
        }
        return prepared

        func listen(_ opened: [RunningListener]) async -> [ConfigProblem] {
            var problems: [ConfigProblem] = []
            for running in opened {
                do throws(ListenError) {
                    try await running.listener.listen()
                } catch {
                    problems.append(new.problem(of: running.identity, error))
                }
            }
            return problems
        }
    }

    private func bind(_ prepared: inout PreparedReload, sharesPort: Bool) -> [ConfigProblem] {
        var problems: [ConfigProblem] = []
        for identity in prepared.plan.opens {
            do throws(ListenError) {
                prepared.opened.append(RunningListener(identity: identity, kind: try bind(identity, for: prepared, sharesPort: sharesPort)))
            } catch {
                problems.append(prepared.loaded.problem(of: identity, error))
            }
        }
        return problems
    }

    private func bind(_ identity: ListenerIdentity, for prepared: PreparedReload, sharesPort: Bool) throws(ListenError)
        -> RunningListener.Kind
    {
        let receiver: Receiver.Address
        switch identity {
        case .scrape(let address, let leavesIPv4):
            return .scrape(
                try server.bind(address, settings: prepared.scrapeSettings, v6Only: leavesIPv4, sharesPort: sharesPort))
        case .tcp(let address): receiver = .tcp(address)
        case .unix(let socket): receiver = .unix(socket)
        }
        return .receiver(
            try Receiver(
                binding: receiver, settings: prepared.receiverSettings(of: identity),
                maxConnections: budget(prepared.loaded.config).perReceiver, sharesPort: sharesPort,
                replacing: listeners.compactMap(\.listener.socketFile),
                intake: intake, metrics: metrics, decoding: decoding, group: group, logger: logger))
    }

    private func publish(_ opened: [RunningListener], _ new: LoadedConfig) -> [ConfigProblem] {
        var problems: [ConfigProblem] = []
        for running in opened {
            do throws(ListenError) {
                try running.listener.publish()
            } catch {
                problems.append(new.problem(of: running.identity, error))
            }
        }
        return problems
    }

    // MARK: - What cannot fail

    private func commit(_ prepared: PreparedReload) {
        contexts = prepared.groundwork.contexts
        for warning in prepared.groundwork.contexts.warnings { logger.log(warning) }
        // Whoever stays is asked before the targets of this reload count.
        lifecycle.remembersReadiness()
        apply(prepared.loaded.config)
        let closing = updateListeners(prepared)
        applyTargets(prepared)
        // The threads are those of the start: a later reload compares with what runs.
        let threads = loaded.config.exporter.workerThreads
        loaded = prepared.loaded
        loaded.config.exporter.workerThreads = threads
        for running in closing { drain(running.listener) }
    }

    /// Settings that belong to no listener and no target. Setting one that is in force already changes nothing.
    private func apply(_ config: Config) {
        store.setLimits(StoreLimits(config))
        // The door first: what comes in from now on keeps to the new rules.
        intake.rules = IntakeRules(config)
        checks.setValidation(config.metrics.validate)
        metrics.held.setLimits(config)
        poller.setRefusesOtherFormats(config.metrics.validate != .off)
        let budget = budget(config)
        if let warning = budget.warning { logger.warning("\(warning)") }
        server.setMaxConnections(budget.scrape)
        metrics.isExposed = config.exporter.selfMetrics
        lifecycle.setEnabled(config.exporter.enableLifecycle)
        basicAuth.setUsers(config.exporter.basicAuthUsers)
        browserGuard.setAllowedHosts(config.exporter.allowedHosts)
    }

    /// How many connections each side may have.
    private func budget(_ config: Config) -> DescriptorBudget { DescriptorBudget(config, eventLoops: eventLoops) }

    /// Starts new listeners, gives kept ones their new settings, and takes those that close out of the list.
    private func updateListeners(_ prepared: PreparedReload) -> [RunningListener] {
        let (plan, config) = (prepared.plan, prepared.loaded.config)
        var closes = plan.closes
        // More receivers or targets leave fewer descriptors to each.
        let changesBudget = budget(loaded.config) != budget(config)
        var closing: [RunningListener] = []
        var kept: [RunningListener] = []
        for running in listeners {
            if let index = closes.firstIndex(of: running.identity) {
                closes.remove(at: index)
                closing.append(running)
                continue
            }
            kept.append(running)
            switch running.kind {
            case .scrape(let scrape) where plan.updatesExporter:
                scrape.update(prepared.scrapeSettings, accessChanged: plan.changesScrapeAccess)
            // The handshake's time and the number of connections are in the other table.
            case .receiver(let receiver) where plan.updatesExporter || plan.updatesReceiver || changesBudget:
                receiver.update(
                    prepared.receiverSettings(of: running.identity), maxConnections: budget(config).perReceiver,
                    accessChanged: plan.changesReceiverAccess && running.listener.port != nil)
            case .scrape, .receiver: break
            }
        }
        for running in prepared.opened {
            switch running.kind {
            case .scrape(let scrape): scrape.start()
            case .receiver(let receiver): receiver.start()
            }
            log(running, config)
        }
        listeners = inOrder(kept + prepared.opened, of: config.listeners)
        lifecycle.show(listeners.map { ShownListener($0, config, prepared.groundwork.contexts) })
        return closing
    }

    private func inOrder(_ running: [RunningListener], of identities: [ListenerIdentity]) -> [RunningListener] {
        var left = running
        return identities.compactMap { identity in left.firstIndex { $0.identity == identity }.map { left.remove(at: $0) } }
    }

    private func applyTargets(_ prepared: PreparedReload) {
        let plan = prepared.plan
        guard !plan.starts.isEmpty || !plan.stops.isEmpty || !plan.renames.isEmpty else { return }
        let starting = Set(plan.starts.map(\.url))
        poller.change(
            stopping: plan.stops, renaming: plan.renames, starting: prepared.groundwork.targets.filter { starting.contains($0.target.url) })
        logger.info("polling", metadata: [LogKey.count: "\(prepared.loaded.config.poll.targets.count)"])
    }

    private func drain(_ listener: Listener) {
        let id = ObjectIdentifier(listener)
        draining[id] = listener
        let time = loaded.config.exporter.shutdownTimeout
        Task {
            let cut = await listener.drain(within: time)
            draining[id] = nil
            var metadata: Logger.Metadata = [LogKey.listener: "\(listener.name)"]
            if cut > 0 { metadata[LogKey.count] = "\(cut)" }
            logger.info(
                cut > 0 ? "listener closed, connections cut unfinished after shutdown_timeout" : "listener closed", metadata: metadata)
        }
    }

    private func log(_ running: RunningListener, _ config: Config) {
        let tls: ListenerTLS =
            switch running.identity {
            case .scrape: config.exporter.tls
            case .tcp: config.receiver.tls
            case .unix: .off
            }
        var metadata: Logger.Metadata = [
            LogKey.listener: "\(running.listener.name)", LogKey.kind: "\(running.identity.word)", LogKey.tls: "\(tls.word)",
        ]
        if case .receiver = running.kind { metadata[LogKey.format] = "\(config.receiver.format.rawValue)" }
        logger.info("listening", metadata: metadata)
    }

    private func shutDownThreads() async {
        await decoding.largeMessages.shutDown()
        await checks.stop()
        try? await passwordThread.shutdownGracefully()
        try? await pageThread.shutdownGracefully()
        try? await blockingWork.shutdownGracefully()
        try? await group.shutdownGracefully()
    }
}

extension HeldBytes {
    /// The limits that the configuration sets; the others are those of the parts that hold the bytes.
    fileprivate func setLimits(_ config: Config) {
        self[.pushing].limit = config.receiver.maxInflightSize
        self[.polling].limit = config.poll.maxInflightSize
        self[.answering].limit = config.exporter.maxHeldSize
    }
}

extension StoreLimits {
    fileprivate init(_ config: Config) {
        self.init(
            maxApps: config.receiver.maxApps, maxTotalSize: config.receiver.maxTotalSize, expireAfter: config.exporter.expireAfter)
    }
}

extension LoadedConfig {
    /// Why a listener cannot be opened, at the key at fault.
    func problem(of identity: ListenerIdentity, _ error: ListenError) -> ConfigProblem {
        guard case .scrape(let address, _) = identity else { return problem(ofReceiver: error, key: identity.key) }
        let index = config.exporter.scrapeAddresses.firstIndex(of: address) ?? 0
        let item = "\(identity.key)[\(index)]"
        return origin.problem(origin.positions[item] == nil ? identity.key : item, "\(identity.key): \(error)")
    }
}
