import HTTP

/// The contents of `config.toml`, with defaults applied. A plain value, so that a reload compares two of them.
public struct Config: Equatable, Sendable {
    /// The scrape side.
    public var exporter: ExporterConfig
    /// The push side.
    public var receiver: ReceiverConfig
    /// Checks and labels of metrics.
    public var metrics: MetricsConfig
    /// The poll side.
    public var poll: PollConfig

    /// A configuration with every key at its default.
    public init(
        exporter: ExporterConfig = ExporterConfig(),
        receiver: ReceiverConfig = ReceiverConfig(),
        metrics: MetricsConfig = MetricsConfig(),
        poll: PollConfig = PollConfig()
    ) {
        self.exporter = exporter
        self.receiver = receiver
        self.metrics = metrics
        self.poll = poll
    }
}

/// The table `[exporter]`.
public struct ExporterConfig: Equatable, Sendable {
    /// Event-loop threads, at least one; `nil` means one for each core that the process may use.
    public var workerThreads: Int? = nil
    /// The limit of open connections of each *receiver* (not of the scrape side), 1…65534.
    public var concurrentRequests = 2048
    /// Where `/metrics` is served; never empty.
    public var scrapeAddresses = [ListenAddress(host: "0.0.0.0", port: 6555)]
    /// TLS of the scrape listeners.
    public var tls = ListenerTLS.off
    /// Whether `/metrics` shows the proxy's own metrics.
    public var selfMetrics = true
    /// A pushed app not updated for this long leaves `/metrics`; `nil` means never.
    public var expireAfter: Duration? = nil
    /// Whether `POST /-/reload` and `DELETE /apps/NAME` are allowed.
    public var enableLifecycle = false
    /// The users that may scrape, by name; empty admits every client.
    public var basicAuthUsers: [String: BcryptHash] = [:]
    /// How long a stop, or a listener that closes, waits for open exchanges.
    public var shutdownTimeout = Duration.seconds(5)
    /// The limit of open connections on the scrape side.
    public var maxConnections = 4096
    /// The memory of answers that readers have not taken, beyond the stored metrics, for all connections together.
    public var maxHeldSize = ByteCount.mebibytes(128)
    /// The longest time that a reader may take for one answer.
    public var responseTimeout = Duration.seconds(300)
    /// The accepted host names and IP addresses in `Host`, in lower case, without ports and brackets; empty accepts all.
    public var allowedHosts: [String] = []
    /// The time limit of a TLS handshake, also on receivers.
    public var handshakeTimeout = Duration.seconds(10)
    /// The time limit of a request's head.
    public var headerTimeout = Duration.seconds(10)
    /// How long a connection without a request stays open.
    public var idleTimeout = Duration.seconds(360)
    /// How long a reader may take no byte.
    public var writeTimeout = Duration.seconds(60)

    /// The table with every key at its default.
    public init() {}
}

/// The table `[metrics]`.
public struct MetricsConfig: Equatable, Sendable {
    /// Whether metrics are checked, and what happens to those that Prometheus would not read.
    public var validate = MetricsValidation.report
    /// The name of a label that every sample gets, with the app's name as its value; `nil` means none. Never set when `validate` is `off`.
    public var appLabel: String? = nil

    /// The table with every key at its default.
    public init() {}
}

/// The values of `metrics.validate`.
public enum MetricsValidation: String, Equatable, Sendable, CaseIterable {
    /// Metrics are not checked.
    case off
    /// Metrics pass unchanged; the program reports invalid apps.
    case report
    /// A push or a poll of invalid metrics is refused.
    case refuse
}

/// The table `[poll_external]`, its general settings already merged into each target.
public struct PollConfig: Equatable, Sendable {
    /// The targets; empty when `poll_other_scrape_endpoints` is false. URLs and names are unique.
    public var targets: [Target] = []
    /// The limit of all bodies that are being read together. A poll beyond it fails.
    public var maxInflightSize = ByteCount.mebibytes(256)

    /// The table with every key at its default.
    public init(targets: [Target] = []) {
        self.targets = targets
    }
}

/// An HTTP proxy through which a target is polled: the value of `proxy_url`.
public struct HTTPProxy: Hashable, Sendable, CustomStringConvertible {
    /// A host name or a numeric address, in lower case, an IPv6 address without brackets.
    public var host: String
    /// The proxy's port.
    public var port: UInt16
    /// The user of the URL, for `Proxy-Authorization`; `nil` sends no credentials.
    public var username: String?
    /// The password of the URL; empty when the URL has only a user.
    public var password: Secret?

    /// A proxy; `host` has no brackets.
    public init(host: String, port: UInt16, username: String? = nil, password: Secret? = nil) {
        self.host = host
        self.port = port
        self.username = username
        self.password = password
    }

    /// `http://HOST:PORT`, without user and password.
    public var description: String { "http://\(HostAndPort.text(host, port))" }
}

/// A text of the configuration that is equal only to the same bytes.
///
/// `String` also counts two texts as equal if they look the same: "é" can be one character, or an "e" and an accent. A password, a label or
/// a path that is corrected from one to the other has changed.
@propertyWrapper
public struct ExactText: Hashable, Sendable {
    /// The text.
    public var wrappedValue: String

    /// A property with this text.
    public init(wrappedValue: String) { self.wrappedValue = wrappedValue }

    /// Whether both have the same bytes.
    public static func == (a: ExactText, b: ExactText) -> Bool { a.wrappedValue.hasSameBytes(as: b.wrappedValue) }
}

extension String {
    /// Whether both have the same UTF-8 bytes. `==` takes no notice of how an accent is written.
    func hasSameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
