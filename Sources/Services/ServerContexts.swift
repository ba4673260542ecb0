import Proxy
import TLS

/// Makes the contexts of listeners, and gathers every problem with them.
struct ServerContexts {
    let loaded: LoadedConfig
    let tickets: SessionTickets
    /// What certificates are judged by.
    let now: Timestamp
    /// Errors and warnings.
    private(set) var problems: [ConfigProblem] = []

    init(loaded: LoadedConfig, tickets: SessionTickets, now: Timestamp) {
        self.loaded = loaded
        self.tickets = tickets
        self.now = now
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
        // OpenSSL stops at the first problem: whoever reads the list wants all of them.
        let before = problems.count
        for (index, name) in config.cipherSuites.enumerated() where !CipherSuites.has(name) {
            refuse("\(table).cipher_suites[\(index)]", TLSError.unknownCipherSuite(name).description)
        }
        for (index, name) in config.curvePreferences.enumerated() where !Curves.has(name) {
            refuse("\(table).curve_preferences[\(index)]", TLSError.unknownCurve(name).description)
        }
        var settings = settings(config, protocols)
        settings.sessionScope = listener
        if problems.count > before {
            settings.cipherSuites = []
            settings.curves = []
        }
        // Told already, at the type that needs them.
        if settings.clientAuthentication.verifies, settings.clientAuthorities == nil { settings.clientAuthentication = .none }
        do throws(TLSError) {
            let context = try TLSContext(server: settings)
            warn(of: context, config, table)
            return context
        } catch {
            let (key, path) = place(of: error, config)
            refuse("\(table).\(key)", path.map { "\($0): \(error)" } ?? error.description)
            return nil
        }
    }

    private func settings(_ config: TLSServerConfig, _ protocols: [String]) -> TLSServerSettings {
        TLSServerSettings(
            certificateChain: loaded.contents(of: config.certFile), privateKey: loaded.contents(of: config.keyFile),
            privateKeyPassword: config.keyPasswordFile.map(loaded.contents), minVersion: TLSProtocolVersion(config.minVersion),
            maxVersion: TLSProtocolVersion(config.maxVersion), cipherSuites: config.cipherSuites,
            prefersOwnCipherSuites: config.prefersServerCipherSuites, curves: config.curvePreferences,
            clientAuthentication: ClientAuthentication(config.clientAuthType), clientAuthorities: config.clientCAFile.map(loaded.contents),
            clientRevocations: config.clientCRLFile.map(loaded.contents), allowedClientNames: config.clientAllowedSANs,
            applicationProtocols: protocols, tickets: tickets)
    }

    /// The key at fault, within the table, and the file that it names.
    private func place(of error: TLSError, _ config: TLSServerConfig) -> (key: String, path: String?) {
        switch error {
        case .invalidPrivateKey, .privateKeyNeedsPassword, .certificateDoesNotMatchKey: ("key_file", config.keyFile)
        case .wrongPrivateKeyPassword: ("key_password_file", config.keyPasswordFile)
        case .invalidClientAuthorities: ("client_ca_file", config.clientCAFile)
        case .invalidRevocationList: ("client_crl_file", config.clientCRLFile)
        case .noCipherSuiteForKey, .unknownCipherSuite: ("cipher_suites", nil)
        case .unknownCurve: ("curve_preferences", nil)
        default: ("cert_file", config.certFile)
        }
    }

    private mutating func warn(of context: TLSContext, _ config: TLSServerConfig, _ table: String) {
        for problem in context.problemsOfChain(at: now) { warn("\(table).cert_file", "\(config.certFile): \(problem)") }
        if context.certificate?.names.isEmpty == true {
            warn("\(table).cert_file", "\(config.certFile): the certificate names no host (subjectAltName): Prometheus refuses it")
        }
        if context.lacksTLS12Suite {
            warn(
                "\(table).cipher_suites",
                "none of them fits the kind of key that the certificate has, so that clients without TLS 1.3 are refused")
        }
        if let end = context.revocationsEnd, end <= now.seconds, let path = config.clientCRLFile {
            warn(
                "\(table).client_crl_file",
                "\(path): a list is out of date since \(dateText(end)): every client is refused until it is renewed")
        }
    }

    private mutating func refuse(_ key: String, _ message: String) {
        problems.append(loaded.origin.problem(key, "\(key): \(message)"))
    }

    private mutating func warn(_ key: String, _ message: String) {
        problems.append(loaded.origin.problem(key, "\(key): \(message)", severity: .warning))
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
