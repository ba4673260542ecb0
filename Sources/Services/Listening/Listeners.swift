import Logging
import NIOCore
import NIOPosix
import Proxy
import Synchronization
import TLS

/// A listener and what runs on its connections.
protocol ServedListener: Sendable {
    var listener: Listener { get }

    /// Accepts connections from now on, and shows its TLS in its metrics. Before, another listener of the same name may run.
    func start()

    /// Settings for connections accepted from now on. If `plan` changes the access rules, open connections end after their current
    /// exchange.
    /// - Parameter maxConnections: of this listener alone, if it has a limit of its own.
    func update(_ new: PreparedConfig, _ plan: ReloadPlan, maxConnections: Int)
}

/// The settings in force: one immutable value. A reload replaces it; each new connection reads it once.
final class SettingsInForce<Value: Sendable>: Sendable {
    /// Guards the value, which is replaced whole.
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    var now: Value { value.withLock { $0 } }

    func replace(with new: Value) { value.withLock { $0 = new } }
}

extension Listener {
    /// Accepts connections from now on, and shows `transport` in the metrics.
    func start(showing transport: Transport) {
        metrics.show(transport)
        start()
    }

    /// Replaces the settings in force.
    /// - Parameters:
    ///   - transport: that of the new settings.
    ///   - accessChanged: whether open connections end after their current exchange.
    func update<Value>(_ settings: SettingsInForce<Value>, to new: Value, _ transport: Transport, accessChanged: Bool) {
        if accessChanged {
            changeAccess { settings.replace(with: new) }
        } else {
            settings.replace(with: new)
        }
        metrics.show(transport)
    }
}

/// The listeners of the configuration: opens, updates and closes them, and keeps the files of Unix sockets in place.
final class Listeners: Part {
    fileprivate struct Running {
        let identity: ListenerIdentity
        let served: any ServedListener

        var listener: Listener { served.listener }
    }

    private struct Draining {
        let running: Running
        /// Ends when its last connection has ended.
        let drain: Task<Void, Never>
    }

    private struct State {
        /// In the order of the configuration.
        var running: [Running] = []
        /// Closed listeners that still have open connections.
        var draining: [ObjectIdentifier: Draining] = [:]
        var inherited: InheritedSockets
        /// Whether unused inherited sockets have been closed.
        var hasStarted = false
    }

    /// How long a reload waits for an address that an earlier one has closed.
    private static let longestWait = TimeAmount.seconds(1)

    private let server: ScrapeServer
    private let intake: Intake
    private let metrics: SelfMetrics
    private let decoding: PushDecoding
    private let http: HTTPReceiver.Shared
    private let lifecycle: DaemonLifecycle
    private let group: MultiThreadedEventLoopGroup
    private let eventLoops: Int
    private let blockingWork: ThreadPool
    private let lostFiles: LostSocketFiles
    private let logger: Logger
    /// Guards the lists of listeners and inherited sockets.
    private let state: Mutex<State>

    /// - Parameters:
    ///   - inherited: sockets that are used for the addresses that they are bound to.
    ///   - intake: takes the pushes that `decoding` has decoded.
    ///   - http: the parts that HTTP receivers share.
    ///   - lifecycle: shows the listeners.
    ///   - eventLoops: how many `group` has.
    ///   - blockingWork: binds sockets, and runs system calls on the files of Unix sockets.
    init(
        inherited: InheritedSockets, server: ScrapeServer, intake: Intake, metrics: SelfMetrics, decoding: PushDecoding,
        http: HTTPReceiver.Shared, lifecycle: DaemonLifecycle, group: MultiThreadedEventLoopGroup, eventLoops: Int,
        blockingWork: ThreadPool, logger: Logger
    ) {
        state = Mutex(State(inherited: inherited))
        self.server = server
        self.intake = intake
        self.metrics = metrics
        self.decoding = decoding
        self.http = http
        self.lifecycle = lifecycle
        self.group = group
        self.eventLoops = eventLoops
        self.blockingWork = blockingWork
        lostFiles = LostSocketFiles(blockingWork: blockingWork, logger: logger)
        self.logger = logger
    }

    /// The addresses bound now.
    var addresses: Daemon.Addresses {
        var addresses = Daemon.Addresses()
        for running in state.withLock({ $0.running }) {
            let name = running.listener.name
            switch running.identity {
            case .scrape: addresses.scrape.append(name)
            case .tcp: addresses.tcp = name
            case .unix: addresses.unix = name
            case .http: addresses.http = name
            }
        }
        return addresses
    }

    // MARK: - Everything that can fail

    /// First all sockets are bound, then all listen, then socket files are replaced. So no connection comes to a listener that is then
    /// abandoned.
    func prepare(_ new: PreparedConfig, _ plan: ReloadPlan) async throws(ConfigProblems) -> PreparedPart {
        // A listener that an earlier reload has closed may still accept the connections that wait. An address that is wanted again is left soon.
        for draining in state.withLock({ Array($0.draining.values) }) where draining.running.mayOverlap(plan.opens) {
            await draining.running.listener.stopListening(until: NIODeadline.now() + Self.longestWait)
        }
        let (running, inherited, closed) = state.withLock { state in
            // A socket that no listener uses could keep another listener from binding its address.
            let closed = state.hasStarted ? [] : state.inherited.close(exceptFor: new.config.listeners)
            state.hasStarted = true
            return (state.running, state.inherited, closed)
        }
        for socket in closed {
            logger.warning("closed an inherited socket: no configured address uses it", metadata: about(socket))
        }
        let budget = DescriptorBudget(new.config, eventLoops: eventLoops)
        let sharing = running.filter { $0.mayOverlap(plan.opens) }
        for running in sharing { running.listener.setSharesPort(true) }
        let files = running.compactMap(\.listener.socketFile)
        var opened: [Running] = []
        var problems: [ConfigProblem] = []
        for identity in plan.opens {
            do throws(ListenError) {
                // The owner of a socket's file is an account, and the look-up of one may not answer.
                let bound = try? await blockingWork.run { [self, sharesPort = !sharing.isEmpty] in
                    Result { () throws(ListenError) in
                        try bind(
                            identity, new, inherited, maxConnections: budget.perReceiver, sharesPort: sharesPort, replacing: files)
                    }
                }
                guard let bound else { throw ListenError("\(identity)", "exporter-proxy is stopping") }
                opened.append(Running(identity: identity, served: try bound.get()))
            } catch {
                problems.append(new.loaded.problem(of: identity, inherited.explained(error, of: identity)))
            }
        }
        if problems.isEmpty {
            problems = await new.loaded.problems(of: opened) { listener throws(ListenError) in try await listener.listen() }
        }
        for running in sharing + opened { running.listener.setSharesPort(false) }
        if problems.isEmpty {
            problems = await new.loaded.problems(of: opened) { listener throws(ListenError) in try listener.publish() }
        }
        let (kept, closing) = Self.divide(running, closes: plan.closes)
        let all = Self.inOrder(kept + opened, of: new.config.listeners)
        let abandon = { @Sendable [opened] in for running in opened { await running.listener.drain(within: .zero) } }
        guard problems.isEmpty else {
            await abandon()
            // One that was published has replaced the file of a running listener.
            await restoreSocketFiles()
            throw ConfigProblems(problems.inOrderOfPosition)
        }
        return PreparedPart { [self, opened] in
            server.setMaxConnections(budget.scrape)
            // Those that close too: new rules of access end the connections that they still have.
            let draining = state.withLock { $0.draining.values.map(\.running) }
            for running in kept + closing + draining { running.served.update(new, plan, maxConnections: budget.perReceiver) }
            for running in opened {
                running.served.start()
                log(running, new.config)
            }
            state.withLock { $0.running = all }
            lifecycle.show(all.map { ShownListener($0.listener, $0.identity, new) })
            for running in closing { drain(running, within: new.config.exporter.shutdownTimeout) }
        } abandon: {
            await abandon()
        }
    }

    private func bind(
        _ identity: ListenerIdentity, _ new: PreparedConfig, _ inherited: InheritedSockets, maxConnections: Int, sharesPort: Bool,
        replacing files: [UnixSocketFile]
    ) throws(ListenError) -> any ServedListener {
        let socket = inherited.socket(for: identity)
        if socket == nil, let other = inherited.socket(inTheWayOf: identity), let address = identity.address {
            throw ListenError("\(address)", other.reasonOfOverlap)
        }
        let receiver: Receiver.Address
        switch identity {
        case .scrape(let address, let leavesIPv4):
            return try server.bind(address, settings: new.scrapeSettings, v6Only: leavesIPv4, sharesPort: sharesPort, inherited: socket)
        case .tcp(let address): receiver = .tcp(address)
        case .unix(let socket): receiver = .unix(socket)
        case .http(let address):
            return try HTTPReceiver(
                binding: address, settings: new.httpReceiverSettings, maxConnections: maxConnections, sharesPort: sharesPort,
                inherited: socket, http)
        }
        return try Receiver(
            binding: receiver, settings: new.receiverSettings(isUnix: receiver.isUnix), maxConnections: maxConnections,
            sharesPort: sharesPort, replacing: files, inherited: socket, intake: intake, metrics: metrics, decoding: decoding, group: group,
            logger: logger)
    }

    private func about(_ socket: InheritedSockets.Socket) -> Logger.Metadata {
        [LogKey.listener: "\(socket)", LogKey.unit: "\(socket.name)"]
    }

    // MARK: - What cannot fail

    /// Divides the listeners into those that stay and those that close.
    private static func divide(_ running: [Running], closes: [ListenerIdentity]) -> (kept: [Running], closing: [Running]) {
        var closes = closes
        var kept: [Running] = []
        var closing: [Running] = []
        for running in running {
            if let index = closes.firstIndex(of: running.identity) {
                closes.remove(at: index)
                closing.append(running)
            } else {
                kept.append(running)
            }
        }
        return (kept, closing)
    }

    private static func inOrder(_ running: [Running], of identities: [ListenerIdentity]) -> [Running] {
        var left = running
        return identities.compactMap { identity in left.firstIndex { $0.identity == identity }.map { left.remove(at: $0) } }
    }

    private func drain(_ running: Running, within time: Duration) {
        let listener = running.listener
        let id = ObjectIdentifier(listener)
        listener.removeFile()
        // Under the lock: the task removes the entry.
        state.withLock { state in
            let drain = Task {
                let cut = await listener.drain(within: time)
                self.state.withLock { $0.draining[id] = nil }
                var metadata: Logger.Metadata = [LogKey.listener: "\(listener.name)"]
                if cut > 0 { metadata[LogKey.count] = "\(cut)" }
                logger.info(
                    cut > 0 ? "listener closed, connections cut unfinished after shutdown_timeout" : "listener closed", metadata: metadata)
            }
            state.draining[id] = Draining(running: running, drain: drain)
        }
    }

    /// Closes all listeners, lets exchanges in flight finish, and waits for pushes whose connections are gone.
    func stop(within time: Duration) async -> Int {
        let deadline = ContinuousClock.now + time
        let (running, draining) = state.withLock { state in
            defer { state.running = [] }
            return (state.running.map(\.listener), Array(state.draining.values))
        }
        let cut = await withTaskGroup(of: Int.self) { drains in
            for listener in running + draining.map(\.running.listener) { drains.addTask { await listener.drain(within: time) } }
            return await drains.reduce(0, +)
        }
        for draining in draining { await draining.drain.value }
        return await cut + decoding.unfinished.wait(until: deadline, on: group)
    }

    private func log(_ running: Running, _ config: Config) {
        var metadata: Logger.Metadata = [
            LogKey.listener: "\(running.listener.name)", LogKey.kind: "\(running.identity.kind.rawValue)",
            LogKey.tls: "\(running.identity.tls(config).word)",
        ]
        if let format = running.identity.format(config) { metadata[LogKey.format] = "\(format.rawValue)" }
        logger.info("listening", metadata: metadata)
    }

    // MARK: - Socket files

    /// Looks for the files of Unix sockets from now on, until the event loops end.
    func watchSocketFiles() {
        lostFiles.watch(on: group.next()) { [weak self] in self?.running ?? [] }
    }

    /// Makes the files of Unix sockets that have vanished again.
    func restoreSocketFiles() async { await lostFiles.restore(running) }

    private var running: [Listener] { state.withLock { $0.running.map(\.listener) } }
}

extension Listeners.Running {
    /// Whether its TCP address may overlap one of these. Only ports are compared: sharing a port without need does no harm.
    fileprivate func mayOverlap(_ identities: [ListenerIdentity]) -> Bool {
        guard let port = listener.port else { return false }
        return identities.contains { $0.port == port }
    }
}

extension LoadedConfig {
    /// Takes one step for each listener.
    fileprivate func problems(
        of opened: [Listeners.Running], _ step: (Listener) async throws(ListenError) -> Void
    ) async -> [ConfigProblem] {
        var problems: [ConfigProblem] = []
        for running in opened {
            do throws(ListenError) {
                try await step(running.listener)
            } catch {
                problems.append(problem(of: running.identity, error))
            }
        }
        return problems
    }
}

extension ListenerIdentity {
    /// The configured port; `nil` for a Unix socket, and if the system picks one.
    fileprivate var port: UInt16? { address.flatMap { $0.port == 0 ? nil : $0.port } }

    fileprivate var kind: DaemonStatus.Listener.Kind {
        switch self {
        case .scrape: .scrape
        case .tcp: .tcp
        case .unix: .unix
        case .http: .http
        }
    }

    fileprivate func tls(_ config: Config) -> ListenerTLS {
        switch self {
        case .scrape: config.exporter.tls
        case .tcp, .http: config.receiver.tls
        case .unix: .off
        }
    }

    /// `nil` for a scrape listener, and for the HTTP receiver, whose requests name their format.
    fileprivate func format(_ config: Config) -> PushFormat? {
        switch self {
        case .scrape, .http: nil
        case .tcp, .unix: config.receiver.format
        }
    }
}

/// A listener as `/apps` shows it: its configuration, and the number of its open connections.
struct ShownListener: Sendable {
    private let listener: Listener
    private let kind: DaemonStatus.Listener.Kind
    /// `nil` for a scrape listener.
    private let format: PushFormat?
    private let tls: ListenerTLS
    /// `nil` when TLS is off.
    private let context: TLSContext?

    init(_ listener: Listener, _ identity: ListenerIdentity, _ new: PreparedConfig) {
        self.listener = listener
        kind = identity.kind
        format = identity.format(new.config)
        tls = identity.tls(new.config)
        switch identity {
        case .scrape: context = new.contexts.scrape
        case .tcp, .http: context = new.contexts.receiver
        case .unix: context = nil
        }
    }

    /// As it is now.
    var status: DaemonStatus.Listener {
        DaemonStatus.Listener(
            name: listener.name, kind: kind, format: format, tls: tls.word, openConnections: listener.openConnections,
            certificateEnd: context?.certificate.map { Timestamp(seconds: $0.notAfter) })
    }
}
