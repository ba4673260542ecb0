/// The table `[receiver]`.
public struct ReceiverConfig: Equatable, Sendable {
    /// The format of new connections.
    public var format = PushFormat.json
    /// The Unix socket; `nil` when `receive_on_unix_socket` is false.
    public var unixSocket: UnixSocketConfig? = nil
    /// The TCP address; `nil` when `receive_on_tcp_socket` is false.
    public var tcpSocket: ListenAddress? = nil
    /// The address of the HTTP receiver; `nil` when `receive_on_http_socket` is false.
    public var httpSocket: ListenAddress? = nil
    /// TLS of the TCP and the HTTP receiver.
    public var tls = ListenerTLS.off
    /// The users that may push over HTTP, by name; empty admits every client.
    public var basicAuthUsers: [String: BcryptHash] = [:]
    /// Which peers may push which apps; the first rule that decides an app counts.
    public var owners: [OwnerRule] = []
    /// The file that keeps pushed apps across a restart; `nil` means none.
    public var stateFile: String? = nil
    /// How often the state file is written when something has changed.
    public var stateInterval = Duration.seconds(300)
    /// A larger message is refused.
    public var maxMessageSize = ByteCount.mebibytes(16)
    /// The limit of stored apps, pushed and polled together.
    public var maxApps = 100_000
    /// The limit of stored bytes.
    public var maxTotalSize = ByteCount.gibibytes(1)
    /// The limit of the incomplete messages of all connections together.
    public var maxInflightSize = ByteCount.mebibytes(256)
    /// A connection that sends nothing for this long is closed.
    public var idleTimeout = Duration.seconds(60)
    /// A message must be complete this long after its first byte.
    public var messageTimeout = Duration.seconds(60)

    /// The table with every key at its default.
    public init() {}
}

/// The two push formats. A connection uses one of them.
public enum PushFormat: String, Equatable, Sendable, CaseIterable {
    case json
    case capnp
}

/// The path of the receiver's Unix socket, and the owner and mode of its file.
public struct UnixSocketConfig: Hashable, Sendable {
    /// The owner or group of the socket file, as configured; looked up when the socket is made.
    public enum Principal: Hashable, Sendable {
        /// That of the running process.
        case current
        /// A user or group name.
        case name(String)
        /// A numeric id.
        case id(UInt32)
    }

    /// The default of `receiver_unix_socket`.
    public static let defaultPath = "/var/run/exporter-proxy-receiver.sock"

    /// The socket file, absolute or relative to the working directory of the process (the decoder resolves it against the config file).
    public var path: String
    /// The file's owner.
    public var user: Principal
    /// The file's group.
    public var group: Principal
    /// Permission bits, `0…0o777`.
    public var mode: UInt16

    /// Makes a socket; parameters that are left out have their default.
    public init(path: String = defaultPath, user: Principal = .current, group: Principal = .current, mode: UInt16 = 0o660) {
        self.path = path
        self.user = user
        self.group = group
        self.mode = mode
    }
}
