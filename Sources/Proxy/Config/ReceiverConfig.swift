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
    @ExactText public var path: String
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

/// One rule of `[[receiver.owners]]`: which peers may push the apps that it names. The first rule whose `apps` match an app decides.
public struct OwnerRule: Hashable, Sendable {
    /// The apps that the rule decides; never empty.
    public var apps: [AppPattern]
    /// Users of the process at the other end of a Unix socket.
    public var users: [SystemAccount] = []
    /// Groups of that process, supplementary ones included.
    public var groups: [SystemAccount] = []
    /// Names in a verified client certificate on a TLS listener.
    public var clientSANs: [CertificateName] = []
    /// Users of `[receiver.basic_auth_users]`.
    public var basicAuthUsers: [String] = []

    /// A rule that lets no peer push these apps.
    public init(apps: [AppPattern]) { self.apps = apps }

    /// Whether the rule decides `app`.
    public func decides(_ app: AppName) -> Bool { apps.contains { $0.matches(app) } }
}

/// A name in a client's certificate (subjectAltName). An address never equals text that looks like it.
public enum CertificateName: Hashable, Sendable, CustomStringConvertible {
    /// A DNS name, an e-mail address or a URI.
    case text(String)
    /// An IP address in its canonical form.
    case address(String)

    /// - Parameter text: an IP address in any of its forms, or a name exactly as in the certificate.
    public init(configured text: String) {
        self = NumericAddress(text).map { .address($0.description) } ?? .text(text)
    }

    /// The name alone.
    public var description: String {
        switch self {
        case .text(let text), .address(let text): text
        }
    }
}

/// A user or a group, as configured. It is looked up when the configuration takes effect.
public enum SystemAccount: Hashable, Sendable, CustomStringConvertible {
    case name(String)
    case id(UInt32)

    /// As in the configuration.
    public var description: String {
        switch self {
        case .name(let name): name
        case .id(let id): "\(id)"
        }
    }
}

/// The names of apps that a rule decides: `*` matches any characters, also none; every other byte matches itself.
public struct AppPattern: Hashable, Sendable, CustomStringConvertible {
    /// As in the configuration.
    public let description: String
    /// The parts between the stars; at least one, and none contains a star.
    private let parts: [[UInt8]]

    /// Makes a pattern; every text is valid.
    public init(_ text: String) {
        description = text
        parts = text.utf8.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false).map(Array.init)
    }

    /// Whether the whole of `app` matches the pattern. The time is at most proportional to the product of both lengths.
    public func matches(_ app: AppName) -> Bool {
        let name = Array(app.description.utf8)
        guard parts.count > 1 else { return parts[0] == name }
        let (first, last) = (parts[0], parts[parts.count - 1])
        guard first.count + last.count <= name.count, name.starts(with: first), name.suffix(last.count).elementsEqual(last) else {
            return false
        }
        // The earliest match for each part in the middle leaves the most room for the next one.
        var rest = name[first.count..<(name.count - last.count)]
        for part in parts[1..<(parts.count - 1)] where !part.isEmpty {
            guard let found = rest.firstRange(of: part) else { return false }
            rest = rest[found.upperBound...]
        }
        return true
    }
}
