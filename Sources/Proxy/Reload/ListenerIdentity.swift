/// Where a listener stands, and what cannot change while it stands there: what identifies it across reloads.
public enum ListenerIdentity: Hashable, Sendable, CustomStringConvertible {
    /// - Parameter leavesIPv4: of `[::]`: whether IPv4 is left to `0.0.0.0` listed beside it.
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

    /// The key that asked for it.
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
    /// Every listener that is asked for, in the order of the file.
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

/// Which clients a listener lets in, as far as TLS and users decide it. Connections made under other rules end after their current exchange.
///
/// A rotation of the certificate, or other suites, change no rule. Files count by their contents.
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
