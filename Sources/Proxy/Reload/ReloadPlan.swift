/// The difference of two configurations: what to do to replace the first by the second. Empty means nothing to do.
///
/// Listeners and targets are compared one by one, everything else table by table as whole values. So a new setting of a table is part of
/// the comparison, and so are the contents of the files that it names.
public struct ReloadPlan: Equatable, Sendable {
    /// The listeners to open, in the order of the configuration.
    public var opens: [ListenerIdentity] = []
    /// The listeners to close; all other running ones stay.
    public var closes: [ListenerIdentity] = []
    /// Whether a setting of running listeners, of `[metrics]` or of all targets has changed.
    public var changesSettings = false
    /// Whether open connections of the scrape listeners end after their current exchange.
    public var changesScrapeAccess = false
    /// Whether open connections of the TCP receiver end after their current message.
    public var changesTCPAccess = false
    /// Whether open connections of the HTTP receiver end after their current exchange.
    public var changesHTTPAccess = false
    /// New targets, and targets with changed settings, in the order of the configuration.
    public var starts: [Target] = []
    /// Targets to remove with their metrics.
    public var stops: [TargetURL] = []
    /// Targets with a new name and no other change. They keep their metrics, and their polls continue.
    public var renames: [Target] = []
    /// One line for each change, for people.
    public var changes: [String] = []
    /// The keys whose change needs a restart.
    public var needsRestart: [String] = []

    /// Whether nothing has to be done.
    public var isEmpty: Bool {
        opens.isEmpty && closes.isEmpty && !changesSettings && starts.isEmpty && stops.isEmpty && renames.isEmpty
    }

    /// The plan from `old`, which runs, to `new`; without `old`, from nothing.
    public init(from old: LoadedConfig?, to new: LoadedConfig) {
        planListeners(old?.config.listeners ?? [], new.config.listeners)
        planTables(old?.config, new.config)
        if let old {
            changes += old.settings.changes(to: new.settings)
            tellTLS("exporter.tls", old.config.exporter.tls, new.config.exporter.tls)
            if old.config.receiver.hasTCP, new.config.receiver.hasTCP {
                tellTLS("receiver.tls", old.config.receiver.tls, new.config.receiver.tls)
            }
        }
        planTargets(old, new)
        if let old { tellNewContents(old.origin.files, new.origin.files) }
        // The shown texts of two values may be the same: a long one is cut, and what may be a password is left out.
        if old != nil, !isEmpty, changes.isEmpty { changes.append("a setting has changed in a part that is not shown") }
        if let old, old.config.exporter.workerThreads != new.config.exporter.workerThreads {
            needsRestart.append("exporter.worker_threads")
        }
    }

    private mutating func planListeners(_ old: [ListenerIdentity], _ new: [ListenerIdentity]) {
        // With port 0 the same address may occur several times.
        var left = old
        for listener in new {
            if let index = left.firstIndex(of: listener) { left.remove(at: index) } else { opens.append(listener) }
        }
        closes = left
        // A socket's owner or mode changes by a new socket that replaces the old one.
        let again = opens.first { listener in listener.socketPath != nil && closes.contains { $0.socketPath == listener.socketPath } }
        if let again { changes.append("\(again): owner, group or mode has changed") }
        changes += closes.filter { $0.socketPath == nil || $0.socketPath != again?.socketPath }.map { "\($0) closes" }
        changes += opens.filter { $0 != again }.map { "\($0) opens" }
    }

    private mutating func planTables(_ old: Config?, _ new: Config) {
        guard let old else {
            changesSettings = true
            return
        }
        // Other code compares what is not a setting of a running listener.
        var (exporterBefore, exporterAfter) = (old.exporter, new.exporter)
        exporterBefore.workerThreads = exporterAfter.workerThreads
        exporterBefore.scrapeAddresses = exporterAfter.scrapeAddresses
        var (receiverBefore, receiverAfter) = (old.receiver, new.receiver)
        receiverBefore.unixSocket = receiverAfter.unixSocket
        receiverBefore.tcpSocket = receiverAfter.tcpSocket
        receiverBefore.httpSocket = receiverAfter.httpSocket
        var (pollBefore, pollAfter) = (old.poll, new.poll)
        pollBefore.targets = []
        pollAfter.targets = []
        changesSettings =
            exporterBefore != exporterAfter || receiverBefore != receiverAfter || pollBefore != pollAfter || old.metrics != new.metrics
        changesScrapeAccess = AccessRules.scrape(old) != AccessRules.scrape(new)
        // Without a receiver on TCP there are no rules. Its last connections keep theirs.
        changesTCPAccess = new.receiver.hasTCP && AccessRules.tcpReceiver(old) != AccessRules.tcpReceiver(new)
        changesHTTPAccess = new.receiver.hasTCP && AccessRules.httpReceiver(old) != AccessRules.httpReceiver(new)
    }

    /// A certificate switches TLS on, also when the key itself does not change.
    private mutating func tellTLS(_ key: String, _ old: ListenerTLS, _ new: ListenerTLS) {
        guard old.word != new.word, !changes.contains(where: { $0.hasPrefix("\(key): ") }) else { return }
        changes.append("\(key): \(old.word) -> \(new.word)")
    }

    private mutating func planTargets(_ old: LoadedConfig?, _ new: LoadedConfig) {
        let before = old?.config.poll.targets ?? []
        var left = Dictionary(before.map { ($0.url, $0) }) { first, _ in first }
        for target in new.config.poll.targets {
            guard let known = left.removeValue(forKey: target.url) else {
                starts.append(target)
                changes.append("target \(target.name) is polled")
                continue
            }
            if known.name != target.name { changes.append("target \(known.name) is now named \(target.name)") }
            var renamed = known
            renamed.name = target.name
            if renamed != target {
                starts.append(target)
                changes += old?.settings.changes(of: target.url, named: target.name, to: new.settings) ?? []
            } else if known.name != target.name {
                renames.append(target)
            }
        }
        let gone = before.filter { left[$0.url] != nil }
        stops = gone.map(\.url)
        changes += gone.map { "target \($0.name) is no longer polled" }
    }

    private mutating func tellNewContents(_ old: [ConfigOrigin.NamedFile], _ new: [ConfigOrigin.NamedFile]) {
        let before = Dictionary(old.map { ($0.content.path, $0.content) }) { first, _ in first }
        for file in new {
            guard let content = before[file.content.path], content != file.content else { continue }
            changes.append("\(file.key): \(content.path) has new contents")
        }
    }
}

/// The identity of a listener across reloads: its address, and what cannot change while it listens.
public enum ListenerIdentity: Hashable, Sendable, CustomStringConvertible {
    /// - Parameter leavesIPv4: for `[::]`, whether IPv4 belongs to a `0.0.0.0` beside it.
    case scrape(ListenAddress, leavesIPv4: Bool)
    case tcp(ListenAddress)
    case http(ListenAddress)
    case unix(UnixSocketConfig)

    /// For the log: `scrape listener 0.0.0.0:6555`.
    public var description: String {
        switch self {
        case .scrape(let address, _): "scrape listener \(address)"
        case .tcp(let address): "TCP receiver \(address)"
        case .http(let address): "HTTP receiver \(address)"
        case .unix(let socket): "Unix receiver \(socket.path)"
        }
    }

    /// Its key in the configuration.
    public var key: String {
        switch self {
        case .scrape: "exporter.scrape_expose_endpoint"
        case .tcp: "receiver.receiver_tcp_socket"
        case .http: "receiver.receiver_http_socket"
        case .unix: "receiver.receiver_unix_socket"
        }
    }

    /// The TCP address; `nil` for a Unix socket.
    public var address: ListenAddress? {
        switch self {
        case .scrape(let address, _), .tcp(let address), .http(let address): address
        case .unix: nil
        }
    }

    /// The path of a Unix receiver.
    var socketPath: ExactText? {
        if case .unix(let socket) = self { ExactText(wrappedValue: socket.path) } else { nil }
    }
}

extension Config {
    /// Every configured listener, in the order of the file.
    public var listeners: [ListenerIdentity] {
        let addresses = exporter.scrapeAddresses
        let scrape = addresses.map { address in
            let leavesIPv4 =
                address.host == "::" && address.port != 0
                && addresses.contains(ListenAddress(host: "0.0.0.0", port: address.port))
            return ListenerIdentity.scrape(address, leavesIPv4: leavesIPv4)
        }
        let receivers = [
            receiver.tcpSocket.map(ListenerIdentity.tcp), receiver.unixSocket.map(ListenerIdentity.unix),
            receiver.httpSocket.map(ListenerIdentity.http),
        ]
        return scrape + receivers.compactMap(\.self)
    }
}

extension ReceiverConfig {
    /// Whether `receiver.tls` is of use: a Unix socket has none.
    fileprivate var hasTCP: Bool { tcpSocket != nil || httpSocket != nil }
}

/// The rules that decide which clients a listener admits: TLS and users. Connections made under other rules end after their current
/// exchange.
///
/// A new certificate or other suites do not change the rules. Files are compared by their contents.
public struct AccessRules: Equatable, Sendable {
    private let mode: String
    private let clients: ClientAccess?
    private let users: [String: BcryptHash]

    /// The rules of the scrape listeners.
    public static func scrape(_ config: Config) -> AccessRules {
        AccessRules(config.exporter.tls, users: config.exporter.basicAuthUsers)
    }

    /// The rules of the TCP receiver. It asks for no user.
    public static func tcpReceiver(_ config: Config) -> AccessRules {
        AccessRules(config.receiver.tls, users: [:])
    }

    /// The rules of the HTTP receiver.
    public static func httpReceiver(_ config: Config) -> AccessRules {
        AccessRules(config.receiver.tls, users: config.receiver.basicAuthUsers)
    }

    private init(_ tls: ListenerTLS, users: [String: BcryptHash]) {
        mode = tls.word
        var clients = tls.settings?.clients
        clients?.caFile?.path = ""
        clients?.crlFile?.path = ""
        self.clients = clients
        self.users = users
    }
}
