/// The table `[receiver]`.
struct ReceiverDraft: Sendable {
    var config = ReceiverConfig()
    var receivesOnUnixSocket = false
    var unixSocket = UnixSocketConfig()
    var receivesOnTCPSocket = false
    var tcpSocket = ListenAddress(host: "127.0.0.1", port: 6554)
    var receivesOnHTTPSocket = false
    var httpSocket = ListenAddress(host: "127.0.0.1", port: 9091)
    var tls: TLSMode?
    var tlsServer: TLSServerDraft?
    var owners: [OwnerDraft] = []
    /// Empty means none.
    var stateFile = ""

    /// The longest path that fits into `sockaddr_un` with its final NUL; unix(7).
    static let maxSocketPathLength = 107

    func config(with reader: inout ConfigReader) -> ReceiverConfig {
        var config = self.config
        warnWhenTooLarge(with: &reader)
        let length = unixSocket.path.utf8.count
        if length > ReceiverDraft.maxSocketPathLength {
            let key = "receiver.receiver_unix_socket"
            let limit = ReceiverDraft.maxSocketPathLength
            reader.refuse(key, "\(key) is \(length) bytes long with its folder; the path of a Unix socket has at most \(limit)")
        }
        if receivesOnUnixSocket { config.unixSocket = unixSocket }
        if receivesOnTCPSocket { config.tcpSocket = tcpSocket }
        if receivesOnHTTPSocket { config.httpSocket = httpSocket }
        config.tls = TLSServerDraft.listenerTLS(
            tls, tlsServer, of: "receiver", isUsed: receivesOnTCPSocket || receivesOnHTTPSocket, with: &reader)
        if receivesOnHTTPSocket, !config.basicAuthUsers.isEmpty {
            TLSServerDraft.warnOfPlainPasswords(
                "receiver.basic_auth_users", tls ?? (tlsServer == nil ? .off : .required), [httpSocket], with: &reader)
        }
        config.owners = owners.compactMap { $0.rule(for: config, with: &reader) }
        config.stateFile = stateFile.isEmpty ? nil : stateFile
        return config
    }

    /// Warns of messages that alone take more than the memory of all messages.
    private func warnWhenTooLarge(with reader: inout ConfigReader) {
        let (table, largest, all) = ("receiver", config.maxMessageSize, config.maxInflightSize)
        guard largest > all, let key = reader.keyToBlame(["max_message_size", "max_inflight_size"], in: table, below: table)
        else { return }
        let sizes = "max_message_size \(ByteCountText.text(largest)) is larger than max_inflight_size \(ByteCountText.text(all))"
        let remedy = "raise max_inflight_size, or lower max_message_size"
        reader.warn(key, "\(table): \(sizes), so that messages between the two sizes are refused; \(remedy)")
    }

    /// The TCP and HTTP addresses that are switched on, each with its key, without those whose value is wrong.
    func validAddresses(with reader: ConfigReader) -> [Keyed<ListenAddress>] {
        let tcp = receivesOnTCPSocket ? [Keyed(key: "receiver.receiver_tcp_socket", value: tcpSocket)] : []
        let http = receivesOnHTTPSocket ? [Keyed(key: "receiver.receiver_http_socket", value: httpSocket)] : []
        return (tcp + http).filter { !reader.isRefused($0.key) }
    }
}

/// A table of `[[receiver.owners]]`.
struct OwnerDraft: Sendable {
    /// The table's dotted key.
    let key: String
    var apps: [String] = []
    var users: [SystemAccount] = []
    var groups: [SystemAccount] = []
    var clientSANs: [String] = []
    var basicAuthUsers: [String] = []

    init(key: String) { self.key = key }

    /// As the log writes it.
    var text: String {
        let names = [
            ("apps", apps), ("users", users.map(\.description)), ("groups", groups.map(\.description)), ("client_sans", clientSANs),
            ("basic_auth_users", basicAuthUsers),
        ]
        return "{ \(names.filter { !$0.1.isEmpty }.map { "\($0.0) = \(ValueText.array($0.1))" }.joined(separator: ", ")) }"
    }

    /// The rule; `nil` when it decides no app, and a problem has been added then.
    func rule(for receiver: ReceiverConfig, with reader: inout ConfigReader) -> OwnerRule? {
        guard !apps.isEmpty else {
            if !reader.isGiven("\(key).apps") { reader.refuse(key, "\(key) needs apps, such as apps = [\"backup_*\"]") }
            return nil
        }
        var rule = OwnerRule(apps: apps.map(AppPattern.init))
        rule.users = users
        rule.groups = groups
        rule.clientSANs = clientSANs.map(CertificateName.init(configured:))
        rule.basicAuthUsers = basicAuthUsers
        for (index, name) in basicAuthUsers.enumerated() where receiver.basicAuthUsers[name] == nil {
            let userKey = "\(key).basic_auth_users[\(index)]"
            reader.warn(userKey, "\(userKey) \(ValueText.quoted(name)) is not a user of [receiver.basic_auth_users]")
        }
        warnWhenUnsatisfiable(rule, receiver, with: &reader)
        return rule
    }

    /// Warns of a rule whose peers no active receiver can recognise.
    private func warnWhenUnsatisfiable(_ rule: OwnerRule, _ receiver: ReceiverConfig, with reader: inout ConfigReader) {
        let verifiesClients = receiver.tls.settings?.clients.authType.verifies ?? false
        let ways: [(names: Bool, isPossible: Bool, remedy: String)] = [
            (!users.isEmpty || !groups.isEmpty, receiver.unixSocket != nil, "users and groups need receive_on_unix_socket"),
            (
                !clientSANs.isEmpty, verifiesClients && (receiver.tcpSocket != nil || receiver.httpSocket != nil),
                "client_sans need a TCP or HTTP receiver with a client_auth_type that verifies"
            ),
            (
                !basicAuthUsers.isEmpty, receiver.httpSocket != nil && basicAuthUsers.contains { receiver.basicAuthUsers[$0] != nil },
                "basic_auth_users need receive_on_http_socket and [receiver.basic_auth_users]"
            ),
        ]
        let named = ways.filter(\.names)
        // A rule that names no peer is meant to let none push.
        guard !named.isEmpty, !named.contains(where: \.isPossible) else { return }
        reader.warn(
            key,
            "\(key): no configured receiver can identify these peers, so they cannot push \(ValueText.array(apps)): \(named.map(\.remedy).joined(separator: "; "))"
        )
    }
}
