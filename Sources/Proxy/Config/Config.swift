/// Everything that `config.toml` says, with defaults applied: a plain value, so that a reload is a comparison.
public struct Config: Equatable, Sendable {
    /// The scrape side.
    public var exporter: ExporterConfig
    /// The push side.
    public var receiver: ReceiverConfig
    /// What is looked at in the metrics themselves.
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

/// How a listener treats TLS.
public enum ListenerTLS: Equatable, Sendable {
    /// Plain text only.
    case off
    /// TLS only.
    case required(TLSServerConfig)
    /// TLS and plain text on one port, told apart by the first bytes.
    case optional(TLSServerConfig)
}
