/// What `/apps` shows about the program itself: its listeners, its last reload, its start time.
public struct DaemonStatus: Equatable, Sendable {
    /// One listener, as it is now.
    public struct Listener: Equatable, Sendable {
        /// Its purpose.
        public enum Kind: String, Equatable, Sendable {
            case scrape, tcp, unix, http
        }

        /// Address or socket path.
        public var name: String
        /// Its purpose.
        public var kind: Kind
        /// The format of a receiver; `nil` for a scrape listener and the HTTP receiver, whose requests name their format.
        public var format: PushFormat?
        /// `off`, `required` or `optional`.
        public var tls: String
        /// Open connections.
        public var openConnections: Int
        /// When its certificate ends; `nil` without TLS.
        public var certificateEnd: Timestamp?

        /// Makes a listener from its parts.
        public init(
            name: String, kind: Kind, format: PushFormat? = nil, tls: String = "off", openConnections: Int = 0,
            certificateEnd: Timestamp? = nil
        ) {
            self.name = name
            self.kind = kind
            self.format = format
            self.tls = tls
            self.openConnections = openConnections
            self.certificateEnd = certificateEnd
        }
    }

    /// How the last reload went.
    public struct Reload: Equatable, Sendable {
        /// When it ended.
        public var time: Timestamp
        /// Why it failed and the old configuration still runs; `nil` after a success.
        public var error: String?

        /// Makes a reload from its parts.
        public init(time: Timestamp, error: String? = nil) {
            self.time = time
            self.error = error
        }
    }

    /// The version of exporter-proxy.
    public var version: String
    /// When the program started.
    public var startTime: Timestamp
    /// In the order of the configuration.
    public var listeners: [Listener]
    /// `nil` before the first one.
    public var lastReload: Reload?

    /// Makes a status from its parts.
    public init(
        version: String = ProgramVersion.current, startTime: Timestamp, listeners: [Listener] = [], lastReload: Reload? = nil
    ) {
        self.version = version
        self.startTime = startTime
        self.listeners = listeners
        self.lastReload = lastReload
    }
}
