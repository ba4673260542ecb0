import NIOCore

/// The `scrape_configs` for a Prometheus that scrapes this proxy, as YAML. Only the paths of files on its host may need a change.
public struct ScrapeJobs: Equatable, Sendable {
    /// What Prometheus needs for access.
    struct Access: Equatable, Sendable {
        var isTLS = false
        /// Whether the handshake fails without a client certificate.
        var needsClientCertificate = false
        /// One of the users, if there are any.
        var user: String?
    }

    /// `HOST:PORT`.
    let target: String
    let access: Access
    /// Whether `/metrics/self` exists.
    let exposesSelf: Bool
    /// Remarks about the configuration, as comments.
    let notes: [String]

    /// - Parameters:
    ///   - host: the name or address under which Prometheus reaches this machine; `nil` means the configured address if others can reach
    ///     it, otherwise `hostname`.
    ///   - hostname: this machine's own name.
    public init(_ config: ExporterConfig, host: String?, hostname: String) {
        var notes: [String] = []
        // Only this machine can reach loopback addresses.
        let address = config.scrapeAddresses.first { !Self.isLocal($0.host) } ?? config.scrapeAddresses[0]
        let usual = NumericAddress(address.host)?.unmapped.isWildcard == true ? hostname : address.host
        let allowed = config.allowedHosts
        let isAllowed = allowed.isEmpty || allowed.contains(Self.canonical(usual))
        let name = host ?? (isAllowed ? usual : Self.allowedName(of: address.host, in: allowed))
        let port = address.port == 0 ? ScrapeJobs.defaultPort : address.port
        if address.port == 0 {
            notes.append("scrape_expose_endpoint lets the system pick the port: give it a fixed one, and write it here.")
        }
        if host == nil, Self.isLocal(address.host) {
            notes.append("scrape_expose_endpoint is \(address): only a Prometheus on the same machine reaches it.")
        } else if host == nil, Self.isLocal(name) {
            notes.append("allowed_hosts has only names of this machine: only a Prometheus on the same machine reaches it.")
        }
        if !allowed.isEmpty, !allowed.contains(Self.canonical(name)) {
            notes.append("allowed_hosts does not have \(name): without it the proxy answers 421.")
        }
        target = name.contains(":") && !name.hasPrefix("[") ? "[\(name)]:\(port)" : "\(name):\(port)"
        access = Access(config)
        exposesSelf = config.selfMetrics
        self.notes = notes
    }

    private static let defaultPort: UInt16 = 6555

    /// Reads the host of a target: a name, an IPv4 address, or an IPv6 address with or without brackets.
    /// - Throws: what Prometheus would not take, and a host with a port.
    public static func host(_ text: String) throws(TargetURL.Malformed) -> String {
        if NumericAddress(text) != nil { return text }
        guard try TargetURL.hostAndPort(text[...]).port == nil, text.utf8.last != UInt8(ascii: ":") else {
            throw TargetURL.Malformed(reason: "the port is that of the configuration")
        }
        return text
    }

    /// A host as `allowed_hosts` has it: a name in lower case, or an address in its canonical form, without brackets.
    private static func canonical(_ host: String) -> String {
        let name = host.lowercased()
        let bare = name.hasPrefix("[") && name.hasSuffix("]") ? String(name.dropFirst().dropLast()) : name
        return NumericAddress(bare)?.description ?? (bare.hasSuffix(".") ? String(bare.dropLast()) : bare)
    }

    /// The name in `allowed_hosts` that most likely leads to the address.
    private static func allowedName(of address: String, in allowed: [String]) -> String {
        let leadsToLocalhost = ["localhost", "127.0.0.1", "::1"].contains(NumericAddress(address)?.unmapped.description ?? address)
        if leadsToLocalhost, allowed.contains("localhost") { return "localhost" }
        return allowed.first { !isLocal($0) } ?? allowed[0]
    }

    /// Whether only this machine reaches the host, in the form of `canonical`.
    private static func isLocal(_ host: String) -> Bool { host == "localhost" || NumericAddress(host)?.unmapped.isLoopback == true }

    /// The text, ending in a newline.
    public var yaml: String {
        let own = exposesSelf ? [""] + selfJob : []
        return (header + ["scrape_configs:"] + appsJob + own + [""] + combinedJob.map { "#\($0)" }).joined(separator: "\n") + "\n"
    }

    private var header: [String] {
        var lines = ["# For prometheus.yml; relative paths start at its folder."] + notes.map { "# \($0)" }
        if access.isTLS {
            lines.append(
                "# ca_file: the authority that signed the proxy's certificate; server_name: a name in it, where the target's host is none.")
        }
        return lines
    }

    /// One target for each app.
    private var appsJob: [String] {
        [
            "  # Each app is a target with an up of its own. Its job is the app's name, its instance this host.",
            "  - job_name: exporter-proxy-apps",
            "    # An app's own job and instance labels stay; others get those of the target.",
            "    honor_labels: true",
            "    http_sd_configs:",
            "      - url: \(quoted("\(access.isTLS ? "https" : "http")://\(target)/sd"))",
        ] + accessLines(indent: 8, withScheme: false) + accessLines(indent: 4) + [
            "    relabel_configs:",
            "      - source_labels: [app]",
            "        target_label: job",
        ] + hostAsInstance
    }

    /// The proxy's own metrics.
    private var selfJob: [String] {
        ["  # The proxy's own metrics.", "  - job_name: exporter-proxy", "    metrics_path: /metrics/self"] + accessLines(indent: 4)
            + staticTarget + ["    relabel_configs:"] + hostAsInstance
    }

    /// A job for all apps together, as a comment.
    private var combinedJob: [String] {
        [
            " Or, in place of the jobs above, all apps and the proxy in one: a line that Prometheus cannot read makes all of them fail.",
            "  - job_name: exporter-proxy",
            "    honor_labels: true",
        ] + accessLines(indent: 4) + staticTarget
    }

    private var staticTarget: [String] {
        [
            "    static_configs:",
            "      - targets: [\(quoted(target))]",
        ]
    }

    /// The address without its port.
    private let hostAsInstance = [
        "      - source_labels: [__address__]",
        "        regex: \"(.+):[0-9]+\"",
        "        target_label: instance",
    ]

    /// - Parameter withScheme: `http_sd_configs` has it in its URL.
    private func accessLines(indent: Int, withScheme: Bool = true) -> [String] {
        var lines = withScheme ? ["scheme: \(access.isTLS ? "https" : "http")"] : []
        if access.isTLS {
            lines += ["tls_config:", "  ca_file: ca.pem", "  # server_name: proxy.example.org"]
            if access.needsClientCertificate {
                // Prometheus refuses a configuration that names a missing client certificate.
                lines += [
                    "  # A client certificate is required: put it and its key there, and uncomment both.",
                    "  # cert_file: client.pem",
                    "  # key_file: client-key.pem",
                ]
            }
        }
        if let user = access.user {
            lines += ["basic_auth:", "  username: \(quoted(user))", "  password_file: exporter-proxy.password"]
        }
        return lines.map { String(repeating: " ", count: indent) + $0 }
    }

    /// As a YAML scalar in double quotes. Its escapes are those of JSON, but four more characters need one: two are line breaks in YAML,
    /// and YAML forbids the other two.
    private func quoted(_ text: String) -> String {
        var json = JSONWriter(capacity: text.utf8.count + 2)
        json.string(text)
        var yaml = ""
        for scalar in String(buffer: json.buffer).unicodeScalars {
            switch scalar.value {
            case 0x2028, 0x2029, 0xFFFE, 0xFFFF: yaml += "\\u\(String(scalar.value, radix: 16))"
            default: yaml.unicodeScalars.append(scalar)
            }
        }
        return yaml
    }
}

extension ScrapeJobs.Access {
    init(_ config: ExporterConfig) {
        user = config.basicAuthUsers.keys.min()
        switch config.tls {
        case .off: break
        case .required(let server), .optional(let server):
            isTLS = true
            switch server.clients.authType {
            case .requireAnyClientCert, .requireAndVerifyClientCert: needsClientCertificate = true
            case .noClientCert, .requestClientCert, .verifyClientCertIfGiven: break
            }
        }
    }
}
