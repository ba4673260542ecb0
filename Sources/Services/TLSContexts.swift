import Proxy
import TLS

/// Every TLS context of one configuration. Only this type makes contexts from TLS settings and file contents.
struct TLSContexts: Sendable {
    /// The context of the scrape listeners; `nil` when they speak plain HTTP only.
    let scrape: TLSContext?
    /// The context of the TCP and HTTP receivers.
    let receiver: TLSContext?
    /// The context of each target, in the order of the configuration's targets.
    let targets: [TargetTLS?]
    /// Problems that do not prevent a start, such as a certificate that has expired.
    let warnings: [ConfigProblem]

    /// A later configuration keeps those whose settings and files have not changed.
    private let servers: [TLSServerSettings: TriedContext]
    private let clients: ClientContexts.Made

    /// Makes the contexts from contents that were read before. Reads no file but the system's certificate authorities. A client's context
    /// that only a redirect to `https` may need, and whose settings cannot be wrong, is made at that redirect. Blocks.
    /// - Parameters:
    ///   - tickets: the keys of session tickets, kept across reloads.
    ///   - handshakeLimit: the limit of the memory of all handshakes, kept across reloads.
    ///   - previous: the contexts in force. Those whose settings and files have not changed are kept.
    ///   - times: the times with which the dates of certificates are compared.
    /// - Throws: every problem found, each with the key and line of the file at fault.
    init(
        _ loaded: LoadedConfig, tickets: SessionTickets = SessionTickets(), handshakeLimit: HandshakeLimit? = nil,
        replacing previous: TLSContexts? = nil, times: CertificateTimes = CertificateTimes()
    ) throws(ConfigProblems) {
        let unknownNames = UnknownTLSNames(in: loaded)
        var servers = ServerContexts(
            loaded: loaded, unknownNames: unknownNames, tickets: tickets, handshakeLimit: handshakeLimit,
            previous: previous?.servers ?? [:], times: times)
        scrape = servers.context(loaded.config.exporter.tls, of: "exporter", protocols: ["http/1.1"])
        receiver = servers.context(loaded.config.receiver.tls, of: "receiver", protocols: [])
        var clients = ClientContexts(
            loaded: loaded, unknownNames: unknownNames, handshakeLimit: handshakeLimit, previous: previous?.clients, times: times)
        var problems = unknownNames.problems + servers.problems
        targets = loaded.config.poll.targets.indices.map { clients.tls(ofTarget: $0, &problems) }
        self.servers = servers.made
        self.clients = clients.made
        warnings = problems.filter { $0.severity == .warning }
        guard warnings.count == problems.count else { throw ConfigProblems(problems) }
    }

    /// Whether the certificate authorities of this machine have changed since `previous`. Targets without `ca_file` trust them.
    func hasNewSystemAuthorities(since previous: TLSContexts) -> Bool { clients.authorities != previous.clients.authorities }
}

/// A listener's context after its trial.
private struct TriedContext: Sendable {
    let context: TLSContext
    /// Why clients of the usual settings fail; `nil` when they do not.
    let usualClientsFail: String?
}

/// Makes the contexts of listeners, and collects every problem with them.
private struct ServerContexts {
    let loaded: LoadedConfig
    let unknownNames: UnknownTLSNames
    let tickets: SessionTickets
    let handshakeLimit: HandshakeLimit?
    let previous: [TLSServerSettings: TriedContext]
    /// The times with which the dates of certificates are compared.
    let times: CertificateTimes
    /// Errors and warnings.
    private(set) var problems: [ConfigProblem] = []
    private(set) var made: [TLSServerSettings: TriedContext] = [:]

    init(
        loaded: LoadedConfig, unknownNames: UnknownTLSNames, tickets: SessionTickets, handshakeLimit: HandshakeLimit?,
        previous: [TLSServerSettings: TriedContext], times: CertificateTimes
    ) {
        self.loaded = loaded
        self.unknownNames = unknownNames
        self.tickets = tickets
        self.handshakeLimit = handshakeLimit
        self.previous = previous
        self.times = times
    }

    /// - Parameter listener: the dotted key of the listener's table.
    /// - Returns: `nil` when there is no TLS, or a problem.
    mutating func context(_ tls: ListenerTLS, of listener: String, protocols: [String]) -> TLSContext? {
        let config: TLSServerConfig
        switch tls {
        case .off: return nil
        case .required(let given), .optional(let given): config = given
        }
        let table = "\(listener).tls_server_config"
        var settings = settings(config, protocols)
        settings.sessionScope = listener
        // The decoder has reported this problem at `client_auth_type`.
        if settings.clientAuthentication.verifies, settings.clientAuthorities == nil { settings.clientAuthentication = .none }
        do throws(TLSSettingsError) {
            let unchanged = previous[settings]
            let context = if let unchanged { unchanged.context } else { try TLSContext(server: settings) }
            warn(of: context, config, table)
            let failure = if let unchanged { unchanged.usualClientsFail } else { try HandshakeTrial.run(on: context, settings) }
            if let failure {
                warn(
                    "\(table).cert_file",
                    "\(config.certFile): clients with the usual settings, such as Prometheus, cannot connect: \(failure)")
            }
            made[settings] = TriedContext(context: context, usualClientsFail: failure)
            return context
        } catch {
            let (key, path) = place(of: error, config)
            refuse("\(table).\(key)", path.map { "\($0): \(error)" } ?? error.description)
            return nil
        }
    }

    private func settings(_ config: TLSServerConfig, _ protocols: [String]) -> TLSServerSettings {
        TLSServerSettings(
            certificateChain: config.certFile.bytes, privateKey: config.keyFile.bytes,
            privateKeyPassword: config.keyPasswordFile?.bytes, minVersion: TLSProtocolVersion(config.minVersion),
            maxVersion: TLSProtocolVersion(config.maxVersion), cipherSuites: unknownNames.usable(config.cipherSuites),
            prefersOwnCipherSuites: config.prefersServerCipherSuites, curves: unknownNames.usable(config.curvePreferences),
            clientAuthentication: ClientAuthentication(config.clients.authType), clientAuthorities: config.clients.caFile?.bytes,
            clientRevocations: config.clients.crlFile?.bytes, allowedClientNames: config.clients.allowedSANs,
            applicationProtocols: protocols, tickets: tickets, handshakeLimit: handshakeLimit)
    }

    /// The key at fault, within the table, and the file that it names.
    private func place(of error: TLSSettingsError, _ config: TLSServerConfig) -> (key: String, path: String?) {
        switch error {
        case .invalidPrivateKey, .privateKeyNeedsPassword, .certificateDoesNotMatchKey: ("key_file", config.keyFile.path)
        case .wrongPrivateKeyPassword: ("key_password_file", config.keyPasswordFile?.path)
        case .invalidClientAuthorities: ("client_ca_file", config.clients.caFile?.path)
        case .invalidRevocationList: ("client_crl_file", config.clients.crlFile?.path)
        case .noCipherSuiteForKey, .unknownCipherSuite: ("cipher_suites", nil)
        case .unknownCurve: ("curve_preferences", nil)
        case .minVersionAboveMaxVersion: ("min_version", nil)
        case .invalidCertificate, .invalidTrustRoots, .noClientCanConnect, .openSSLFailed: ("cert_file", config.certFile.path)
        }
    }

    private mutating func warn(of context: TLSContext, _ config: TLSServerConfig, _ table: String) {
        for problem in context.problemsOfChain(at: times) { warn("\(table).cert_file", "\(config.certFile): \(problem)") }
        if context.certificate?.names.isEmpty == true {
            warn("\(table).cert_file", "\(config.certFile): the certificate names no host (subjectAltName): Prometheus refuses it")
        }
        if context.lacksTLS12Suite {
            warn(
                "\(table).cipher_suites",
                "none of them fits the certificate's kind of key: clients without TLS 1.3 are refused")
        }
        if let period = context.revocations, let path = config.clients.crlFile?.path {
            let key = "\(table).client_crl_file"
            if let end = period.end, end <= times.now.seconds {
                let date = dateText(end)
                warn(key, "\(path): a revocation list expired on \(date): clients of its authority are refused until it is renewed")
            }
            if period.begin > times.now.seconds {
                let date = dateText(period.begin)
                warn(key, "\(path): a revocation list is not valid before \(date): clients of its authority are refused until then")
            }
        }
    }

    private mutating func refuse(_ key: String, _ message: String) {
        problems.append(loaded.origin.problem(key, "\(key): \(message)"))
    }

    private mutating func warn(_ key: String, _ message: String) {
        problems.append(loaded.origin.problem(key, "\(key): \(message)", severity: .warning))
    }
}

/// The names of cipher suites and curves in a configuration that this OpenSSL lacks, in every table, whether it is in use or not.
struct UnknownTLSNames {
    /// One for each place of such a name.
    let problems: [ConfigProblem]
    private let names: Set<String>

    init(in loaded: LoadedConfig) {
        var names: Set<String> = []
        problems = loaded.origin.tlsNames.compactMap { given in
            let error: TLSSettingsError
            switch given.kind {
            case .cipherSuite where !CipherSuites.has(given.name): error = .unknownCipherSuite(given.name)
            case .curve where !Curves.has(given.name): error = .unknownCurve(given.name)
            default: return nil
            }
            names.insert(given.name)
            return loaded.origin.problem(given.key, "\(given.key): \(error)")
        }
        self.names = names
    }

    /// `given`, or none if one of them is unknown: then the other problems of the same table are looked for with OpenSSL's own.
    func usable(_ given: [String]) -> [String] { given.contains(where: names.contains) ? [] : given }
}

extension HandshakeLimit {
    private struct Handshaking: HandshakeBudget {
        let budget: ByteBudget

        func add(_ bytes: Int) { budget.add(bytes) }
        func release(_ bytes: Int) { budget.release(bytes) }
    }

    /// Counts the memory of handshakes in `exporter_proxy_held_bytes`.
    convenience init(_ held: HeldBytes) {
        self.init(Handshaking(budget: held[.handshaking]))
    }
}

extension TLSProtocolVersion {
    init(_ version: TLSVersion) {
        switch version {
        case .tls12: self = .tls12
        case .tls13: self = .tls13
        }
    }
}

extension ClientAuthentication {
    fileprivate init(_ type: ClientAuthType) {
        switch type {
        case .noClientCert: self = .none
        case .requestClientCert: self = .request
        case .requireAnyClientCert: self = .requireAny
        case .verifyClientCertIfGiven: self = .verifyIfGiven
        case .requireAndVerifyClientCert: self = .requireAndVerify
        }
    }
}

/// The times with which the dates of certificates are compared.
struct CertificateTimes: Sendable {
    var now = SystemClock.time()
    /// A certificate that expires within this time is a problem.
    var renewalNotice = Duration.zero
}

extension TLSContext {
    /// Problems with the chain that do not prevent a start: peers refuse it, now or later.
    func problemsOfChain(at times: CertificateTimes) -> [String] {
        var problems: [String] = []
        for (index, certificate) in chain.enumerated() {
            let which = index == 0 ? "the certificate" : "certificate \(index + 1) of the chain"
            if certificate.notAfter <= times.now.seconds {
                problems.append("\(which) has expired on \(dateText(certificate.notAfter)): peers refuse it")
            } else if certificate.notBefore > times.now.seconds {
                problems.append("\(which) is not valid before \(dateText(certificate.notBefore)): peers refuse it")
            } else if certificate.notAfter <= times.now.seconds + times.renewalNotice.components.seconds {
                problems.append("\(which) ends soon, on \(dateText(certificate.notAfter)): renew it")
            }
        }
        if let brokenLink {
            problems.append(
                "certificate \(brokenLink + 1) of the file did not sign certificate \(brokenLink): the chain is broken or in the wrong order"
            )
        }
        return problems
    }
}

/// `2026-11-24T21:00:00Z`, limited to the range of a `Timestamp`.
func dateText(_ epochSeconds: Int64) -> String { Timestamp(seconds: epochSeconds).rfc3339 }
