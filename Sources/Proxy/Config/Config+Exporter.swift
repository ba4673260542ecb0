/// The table `[exporter]`.
public struct ExporterConfig: Equatable, Sendable {
    /// Event-loop threads, at least one; `nil` means one for each core.
    public var workerThreads: Int? = nil
    /// Connections that each receiving listener handles at once, 1…65534.
    public var concurrentRequests = 2048
    /// Where `/metrics` is served; never empty.
    public var scrapeAddresses = [ListenAddress(host: "0.0.0.0", port: 6555)]
    /// TLS of the scrape listeners.
    public var tls = ListenerTLS.off
    /// Whether `/metrics` shows the proxy's own metrics.
    public var selfMetrics = true
    /// A pushed app not updated for this long leaves `/metrics`; `nil` means never.
    public var expireAfter: Duration? = nil
    /// Whether `POST /-/reload` and the like are allowed.
    public var enableLifecycle = false
    /// Who may scrape, by name; empty admits everyone.
    public var basicAuthUsers: [String: BcryptHash] = [:]
    /// How long a stop, or a listener that closes, waits for what is in flight.
    public var shutdownTimeout = Duration.seconds(5)
    /// Open connections on the scrape side.
    public var maxConnections = 4096
    /// What answers that their readers have not taken may hold beyond what is stored, all connections together.
    public var maxHeldSize = ByteCount.mebibytes(128)
    /// The longest that a reader may take for one answer.
    public var responseTimeout = Duration.seconds(300)
    /// Host names and IP addresses in `Host` that are answered, in lower case, without ports and brackets; empty means any.
    public var allowedHosts: [String] = []
    /// For a TLS handshake, on receivers too.
    public var handshakeTimeout = Duration.seconds(10)
    /// For a request's head.
    public var headerTimeout = Duration.seconds(10)
    /// For a kept connection without a request.
    public var idleTimeout = Duration.seconds(360)
    /// For a reader that takes no bytes.
    public var writeTimeout = Duration.seconds(60)

    /// The table with every key at its default.
    public init() {}
}
