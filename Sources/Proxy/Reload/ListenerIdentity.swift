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
    var socketPath: String? {
        if case .unix(let socket) = self { socket.path } else { nil }
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

    /// The rules of the TCP and the HTTP receiver.
    public static func receiver(_ config: Config) -> AccessRules {
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
