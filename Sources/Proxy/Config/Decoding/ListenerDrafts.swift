/// The table `[exporter]`.
struct ExporterDraft: Sendable {
    var config = ExporterConfig()
    var scrapeAddresses: [Keyed<ListenAddress>]?
    var expireAfter: Duration?
    var tls: TLSMode?
    var tlsServer: TLSServerDraft?

    /// Each address with its key; empty when the key's value is wrong.
    func validAddresses(with reader: ConfigReader) -> [Keyed<ListenAddress>] {
        if let scrapeAddresses { return scrapeAddresses }
        guard !reader.isGiven(ExporterDraft.addressKey) else { return [] }
        return config.scrapeAddresses.map { Keyed(key: ExporterDraft.addressKey, value: $0) }
    }

    func config(with reader: inout ConfigReader) -> ExporterConfig {
        var config = self.config
        if let scrapeAddresses { config.scrapeAddresses = scrapeAddresses.map(\.value) }
        config.expireAfter = expireAfter == .zero ? nil : expireAfter
        config.tls = TLSServerDraft.listenerTLS(tls, tlsServer, of: "exporter", isUsed: true, with: &reader)
        if !config.basicAuthUsers.isEmpty {
            let addresses = validAddresses(with: reader).map(\.value)
            TLSServerDraft.warnOfPlainPasswords(
                "exporter.basic_auth_users", tls ?? (tlsServer == nil ? .off : .required), addresses, with: &reader)
        }
        return config
    }

    static let addressKey = "exporter.scrape_expose_endpoint"
}

/// A `tls_server_config` table.
struct TLSServerDraft: Sendable {
    /// The table's dotted key.
    let key: String
    var certFile: String?
    var keyFile: String?
    var keyPasswordFile: String?
    var clientAuthType: ClientAuthType?
    var clientCAFile: String?
    var clientCRLFile: String?
    var clientAllowedSANs: [String]?
    var minVersion: TLSVersion?
    var maxVersion: TLSVersion?
    var cipherSuites: [String]?
    var prefersServerCipherSuites: Bool?
    var curvePreferences: [String]?

    init(key: String) { self.key = key }

    /// The table's settings; `nil` when they are wrong, and problems have been added then.
    ///
    /// - Parameter isUsed: whether the listener is switched on. Files are read only then.
    private func config(isUsed: Bool, with reader: inout ConfigReader) -> TLSServerConfig? {
        let missing = ["cert_file", "key_file"].filter { !reader.isGiven("\(key).\($0)") }
        if !missing.isEmpty { reader.refuse(key, "\(key) needs \(missing.joined(separator: " and "))") }
        let versions = (minVersion ?? .tls12, maxVersion ?? .tls13)
        if versions.0 > versions.1 {
            reader.refuse(
                "\(key).min_version", "\(key).min_version \"\(versions.0.rawValue)\" is above max_version \"\(versions.1.rawValue)\"")
        }
        checkClientAuthentication(with: &reader)
        guard isUsed, let certFile, let keyFile else { return nil }
        var config = TLSServerConfig(
            certFile: reader.file("\(key).cert_file", certFile), keyFile: reader.secretFile("\(key).key_file", keyFile),
            minVersion: versions.0, maxVersion: max(versions.0, versions.1))
        config.keyPasswordFile = keyPasswordFile.map { reader.secretFile("\(key).key_password_file", $0) }
        config.clients.authType = clientAuthType ?? .noClientCert
        config.clients.caFile = clientCAFile.map { reader.file("\(key).client_ca_file", $0) }
        config.clients.crlFile = clientCRLFile.map { reader.file("\(key).client_crl_file", $0) }
        config.clients.allowedSANs = clientAllowedSANs ?? []
        config.cipherSuites = cipherSuites ?? []
        config.prefersServerCipherSuites = prefersServerCipherSuites ?? true
        config.curvePreferences = curvePreferences ?? []
        return config
    }

    /// Refuses settings without effect, because their author relies on them.
    private func checkClientAuthentication(with reader: inout ConfigReader) {
        let typeKey = "\(key).client_auth_type"
        // A refused type must not cause further problems.
        guard clientAuthType != nil || !reader.isGiven(typeKey) else { return }
        let type = clientAuthType ?? .noClientCert
        let given = ValueText.quoted(type.rawValue)
        let authorities = "\(key).client_ca_file"
        if type.verifies, !reader.isGiven(authorities) {
            reader.refuse(typeKey, "\(typeKey) \(given) needs client_ca_file, the authorities to verify clients with")
        }
        if !type.verifies, reader.isGiven(authorities) {
            if type == .noClientCert {
                reader.refuse(
                    authorities,
                    "\(authorities) is given, but client_auth_type is \(given): no client would be asked for its certificate; "
                        + "did you mean client_auth_type = \"\(ClientAuthType.requireAndVerifyClientCert.rawValue)\"?")
            } else {
                reader.warn(
                    authorities, "\(authorities): client_auth_type \(given) takes any certificate, not only those of these authorities")
            }
        }
        let names = "\(key).client_allowed_sans"
        if reader.isGiven(names) {
            switch type {
            case .requireAndVerifyClientCert: break
            case .requireAnyClientCert:
                reader.warn(
                    names, "\(names): client_auth_type \(given) verifies no certificate, so that anyone can make one with an allowed name")
            case .noClientCert, .requestClientCert, .verifyClientCertIfGiven:
                reader.refuse(names, "\(names) needs client_auth_type = \"\(ClientAuthType.requireAndVerifyClientCert.rawValue)\"")
            }
        }
        let revocations = "\(key).client_crl_file"
        if reader.isGiven(revocations), !type.verifies {
            reader.refuse(revocations, "\(revocations) needs a client_auth_type that verifies, and it is \(given)")
        }
    }

    /// The TLS of a listener whose `tls` key is `mode`.
    ///
    /// - Parameters:
    ///   - table: the dotted key of the listener's table.
    ///   - isUsed: whether the listener is switched on. Files are needed only then.
    static func listenerTLS(
        _ mode: TLSMode?, _ draft: TLSServerDraft?, of table: String, isUsed: Bool, with reader: inout ConfigReader
    ) -> ListenerTLS {
        let key = "\(table).tls_server_config"
        guard let draft else {
            if let mode, mode != .off, !reader.isGiven(key) {
                reader.refuse("\(table).tls", "\(table).tls is \"\(mode.rawValue)\" but there is no [\(key)] with cert_file and key_file")
            }
            return .off
        }
        if mode == .optional, let type = draft.clientAuthType, type.verifies {
            reader.refuse(
                "\(table).tls",
                "\(table).tls is \"optional\", but client_auth_type is \(ValueText.quoted(type.rawValue)): plain-text clients would bypass it; "
                    + "did you mean \"required\"?")
        }
        if mode == .off, isUsed, let type = draft.clientAuthType, type.verifies {
            reader.warn(
                "\(table).tls",
                "\(table).tls is \"off\", so client_auth_type \(ValueText.quoted(type.rawValue)) has no effect: "
                    + "clients connect without TLS and without a certificate")
        }
        guard let server = draft.config(isUsed: isUsed && mode != .off, with: &reader) else { return .off }
        return mode == .optional ? .optional(server) : .required(server)
    }

    /// Warns of passwords that are sent in plain text.
    ///
    /// - Parameter key: the users' table.
    static func warnOfPlainPasswords(
        _ key: String, _ mode: TLSMode, _ addresses: [ListenAddress], with reader: inout ConfigReader
    ) {
        switch mode {
        case .required: break
        case .optional:
            reader.warn(key, "\(key): tls is \"optional\", so that passwords may be sent in plain text; did you mean \"required\"?")
        case .off:
            guard !addresses.allSatisfy({ NumericAddress($0.host)?.isLoopback ?? false }) else { break }
            reader.warn(key, "\(key): without TLS passwords are sent in plain text")
        }
    }
}

/// The values of `tls`.
enum TLSMode: String, CaseIterable, Sendable {
    case off
    case required
    case optional
}
