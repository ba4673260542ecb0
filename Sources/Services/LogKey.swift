public import Logging
public import Proxy

/// The metadata keys of log lines, declared once, so that a search of the log finds one word per thing.
enum LogKey {
    /// The address or socket path of a listener.
    static let listener = "listener"
    /// The other end of a connection.
    static let peer = "peer"
    /// A polled target's name.
    static let target = "target"
    /// An app's name, or names.
    static let app = "app"
    /// A series: its name and labels.
    static let series = "series"
    /// The text of an error.
    static let error = "error"
    /// The fixed word for why a message or a handshake failed, as in the self-metrics.
    static let reason = "reason"
    /// The dotted key of the configuration that a line is about.
    static let key = "key"
    /// The event that caused a reload.
    static let trigger = "trigger"
    /// How many of something.
    static let count = "count"
    /// Log lines of the same kind left out since the last one.
    static let suppressed = "suppressed"
    /// The name that a unit of systemd gives a socket.
    static let unit = "unit"
    /// A file or folder.
    static let file = "file"
    /// The limit of open connections.
    static let limit = "limit"
    /// What a listener is: `scrape`, `tcp`, `unix` or `http`.
    static let kind = "kind"
    /// `off`, `required` or `optional`.
    static let tls = "tls"
    /// What a receiver speaks: `json` or `capnp`.
    static let format = "format"
    /// In bytes.
    static let size = "size"
    /// How long something took.
    static let duration = "duration"
    /// Of exporter-proxy.
    static let version = "version"
    /// Method and path of an HTTP request.
    static let request = "request"
    /// The status code that it was answered with.
    static let status = "status"
}

extension Duration {
    /// The value of `LogKey.duration`: whole milliseconds, `13ms`.
    var logText: String { "\(wholeNanoseconds / 1_000_000)ms" }
}

extension ConfigProblem {
    /// The level at which it is logged.
    public var logLevel: Logger.Level {
        switch severity {
        case .error: .error
        case .warning: .warning
        }
    }

    /// The metadata of its log line: the key, if there is one.
    public var logMetadata: Logger.Metadata { key.map { [LogKey.key: "\($0)"] } ?? [:] }
}

extension Logger {
    /// Writes one line for a problem: its position and message, and its key as metadata.
    func log(_ problem: ConfigProblem) { log(level: problem.logLevel, "\(problem)", metadata: problem.logMetadata) }
}
