public import Logging
import NIOCore
import NIOPosix
public import Proxy
import TLS

/// What runs right now. All that it owns is made in `start` and ends in `stop`.
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

    /// What a configuration asks for, opened but not yet used: dropping it needs `abandon()`.
    private struct Prepared {
        var scrape: [ScrapeListener] = []
        var tcp: Receiver?
        var unix: Receiver?
        var targets: [PolledTarget] = []

        func abandon() async {
            for listener in scrape { await listener.drain(within: .zero) }
            await tcp?.drain(within: .zero)
            await unix?.drain(within: .zero)
        }
    }

    let loaded: LoadedConfig
    let logger: Logger
    private let group: MultiThreadedEventLoopGroup
    private let blockingWork: NIOThreadPool
    private let intake: PushIntake
    private let server: ScrapeServer
    private let poller: Poller
    private let readiness: Readiness
    /// Beside the contexts, so that clients resume their sessions across a reload.
    private let tickets = SessionTickets()
    private var open = Prepared()

    /// Makes what needs no port: store, threads, routes.
    public init(_ loaded: LoadedConfig, logger: Logger) {
        let config = loaded.config
        let threads = config.exporter.workerThreads ?? System.coreCount
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let blockingWork = NIOThreadPool(numberOfThreads: max(2, System.coreCount))
        let store = MetricStore(limits: StoreLimits(config.receiver))
        let poller = Poller(group: group, store: store, clock: SystemClock.now, logger: logger)
        let readiness = Readiness { poller.firstPollsEnded }
        let router = Router(
            store: store, lifecycle: readiness, offload: ThreadPoolOffload(blockingWork), clock: SystemClock.now)
        self.loaded = loaded
        self.logger = logger
        self.group = group
        self.blockingWork = blockingWork
        self.poller = poller
        self.readiness = readiness
        intake = PushIntake(
            store: store, inflight: InflightBudget(limit: config.receiver.maxInflightSize), clock: SystemClock.now,
            makeDecoder: { format, maxMessageSize in format.makeDecoder(maxMessageSize: maxMessageSize) })
        server = ScrapeServer(
            responder: router, clock: SystemClock.now, maxConnections: config.exporter.maxConnections, group: group, logger: logger)
    }

    /// Opens every door and begins to poll. Everything that can fail happens before anyone is let in.
    /// - Throws: every problem found; nothing is left open then.
    @discardableResult
    public func start() async throws(ConfigProblems) -> Addresses {
        for warning in loaded.warnings { logger.warning("\(warning)") }
        blockingWork.start()
        do throws(ConfigProblems) {
            open = try await prepare()
        } catch {
            await shutDownThreads()
            throw error
        }
        commit(open)
        return addresses
    }

    /// Accepts nothing new, lets what is in flight finish within `shutdown_timeout`, and ends every thread.
    public func stop() async {
        readiness.stopBegins()
        let time = loaded.config.exporter.shutdownTimeout
        let polls = poller.shutdown()
        var cut = 0
        await withTaskGroup(of: Int.self) { drains in
            for listener in open.scrape { drains.addTask { await listener.drain(within: time) } }
            for receiver in [open.tcp, open.unix].compactMap(\.self) { drains.addTask { await receiver.drain(within: time) } }
            for await count in drains { cut += count }
        }
        try? await polls.get()
        if cut > 0 {
            logger.warning("connections closed unfinished after shutdown_timeout", metadata: [LogKey.count: "\(cut)"])
        }
        open = Prepared()
        await shutDownThreads()
    }

    private var addresses: Addresses {
        Addresses(scrape: open.scrape.map(\.listener.name), tcp: open.tcp?.listener.name, unix: open.unix?.listener.name)
    }

    private func prepare() async throws(ConfigProblems) -> Prepared {
        let groundwork = try Groundwork(loaded, tickets: tickets)
        for warning in groundwork.contexts.warnings { logger.warning("\(warning)") }
        var prepared = Prepared()
        var problems: [ConfigProblem] = []
        prepared.targets = groundwork.targets
        await bindScrapeListeners(groundwork.contexts, &prepared, &problems)
        await bindReceivers(groundwork.contexts, &prepared, &problems)
        guard problems.isEmpty else {
            await prepared.abandon()
            throw ConfigProblems(problems)
        }
        return prepared
    }

    private func bindScrapeListeners(
        _ contexts: TLSContexts, _ prepared: inout Prepared, _ problems: inout [ConfigProblem]
    ) async {
        let config = loaded.config.exporter
        let settings = ScrapeSettings(config, transport: Transport(config.tls, context: contexts.scrape))
        for (index, address) in config.scrapeAddresses.enumerated() {
            do throws(ListenError) {
                prepared.scrape.append(
                    try await server.bind(address, settings: settings, v6Only: config.leavesIPv4(besides: address)))
            } catch {
                let key = "exporter.scrape_expose_endpoint"
                let item = "\(key)[\(index)]"
                problems.append(loaded.origin.problem(loaded.origin.positions[item] == nil ? key : item, "\(key): \(error)"))
            }
        }
    }

    private func bindReceivers(_ contexts: TLSContexts, _ prepared: inout Prepared, _ problems: inout [ConfigProblem]) async {
        let config = loaded.config.receiver
        if let address = config.tcpSocket {
            let transport = Transport(config.tls, context: contexts.receiver)
            prepared.tcp = await bind(.tcp(address), transport, key: "receiver.receiver_tcp_socket", &problems)
        }
        if let socket = config.unixSocket {
            prepared.unix = await bind(.unix(socket), .off, key: "receiver.receiver_unix_socket", &problems)
        }
    }

    private func bind(
        _ address: Receiver.Address, _ transport: Transport, key: String, _ problems: inout [ConfigProblem]
    ) async -> Receiver? {
        do throws(ListenError) {
            return try await Receiver(
                binding: address, settings: ReceiverSettings(loaded.config, transport: transport),
                maxConnections: loaded.config.exporter.concurrentRequests, intake: intake, group: group, logger: logger)
        } catch {
            problems.append(loaded.problem(ofReceiver: error, key: key))
            return nil
        }
    }

    private func commit(_ prepared: Prepared) {
        for listener in prepared.scrape {
            listener.start()
            log(listener.listener.name, "scrape", loaded.config.exporter.tls)
        }
        if let tcp = prepared.tcp {
            tcp.start()
            log(tcp.listener.name, "tcp", loaded.config.receiver.tls)
        }
        if let unix = prepared.unix {
            unix.start()
            log(unix.listener.name, "unix", .off)
        }
        readiness.listenersAreUp()
        if !prepared.targets.isEmpty {
            logger.info("polling", metadata: [LogKey.count: "\(prepared.targets.count)"])
            poller.start(prepared.targets)
        }
    }

    private func log(_ address: String, _ listener: String, _ tls: ListenerTLS) {
        var metadata: Logger.Metadata = [LogKey.address: "\(address)", LogKey.listener: "\(listener)", LogKey.tls: "\(tls.word)"]
        if listener != "scrape" { metadata[LogKey.format] = "\(loaded.config.receiver.format.rawValue)" }
        logger.info("listening", metadata: metadata)
    }

    private func shutDownThreads() async {
        try? await blockingWork.shutdownGracefully()
        try? await group.shutdownGracefully()
    }
}

extension StoreLimits {
    fileprivate init(_ config: ReceiverConfig) {
        self.init(maxApps: config.maxApps, maxTotalSize: config.maxTotalSize)
    }
}

extension ExporterConfig {
    /// Whether an IPv6 wildcard leaves IPv4 to the wildcard listed beside it.
    fileprivate func leavesIPv4(besides address: ListenAddress) -> Bool {
        address.host == "::" && address.port != 0 && scrapeAddresses.contains(ListenAddress(host: "0.0.0.0", port: address.port))
    }
}

extension ListenerTLS {
    /// As in the configuration.
    fileprivate var word: String {
        switch self {
        case .off: "off"
        case .required: "required"
        case .optional: "optional"
        }
    }
}

extension Transport {
    /// - Parameter context: there whenever `tls` is not off.
    fileprivate init(_ tls: ListenerTLS, context: TLSContext?) {
        switch (tls, context) {
        case (.required, let context?): self = .required(context)
        case (.optional, let context?): self = .optional(context)
        default: self = .off
        }
    }
}
