/// What `/apps` shows of the program itself: its listeners, its last reload, its age.
public struct DaemonStatus: Equatable, Sendable {
    /// One listener, as it is now.
    public struct Listener: Equatable, Sendable {
        /// What comes in there.
        public enum Kind: String, Equatable, Sendable {
            case scrape, tcp, unix, http
        }

        /// Address or socket path.
        public var name: String
        /// What comes in there.
        public var kind: Kind
        /// What a receiver speaks; `nil` for a scrape listener, and for a receiver of HTTP, whose requests say it.
        public var format: PushFormat?
        /// `off`, `required` or `optional`.
        public var tls: String
        /// Connections open now.
        public var openConnections: Int
        /// When the certificate that it shows ends; `nil` without TLS.
        public var certificateEnd: Timestamp?

        /// A listener described by its parts.
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
        /// Why what ran before still runs; `nil` when it succeeded.
        public var error: String?

        /// A reload that ended then.
        public init(time: Timestamp, error: String? = nil) {
            self.time = time
            self.error = error
        }
    }

    /// Of exporter-proxy.
    public var version: String
    /// When the program started.
    public var startTime: Timestamp
    /// In the order of the configuration.
    public var listeners: [Listener]
    /// `nil` before the first one.
    public var lastReload: Reload?

    /// A status made of its parts.
    public init(
        version: String = ProgramVersion.current, startTime: Timestamp, listeners: [Listener] = [], lastReload: Reload? = nil
    ) {
        self.version = version
        self.startTime = startTime
        self.listeners = listeners
        self.lastReload = lastReload
    }
}
