import TOML

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
    var clientAllowedSANs: [String] = []
    var minVersion: TLSVersion?
    var maxVersion: TLSVersion?
    var cipherSuites: [String] = []
    var prefersServerCipherSuites = true
    var curvePreferences: [String] = []

    init(key: String) { self.key = key }

    /// The table's settings; nil when they are wrong, which has been noted then.
    func config(with reader: inout ConfigReader) -> TLSServerConfig? {
        let missing = ["cert_file", "key_file"].filter { !reader.isGiven("\(key).\($0)") }
        if !missing.isEmpty { reader.refuse(key, "\(key) needs \(missing.joined(separator: " and "))") }
        let versions = (minVersion ?? .tls12, maxVersion ?? .tls13)
        if versions.0 > versions.1 {
            reader.refuse(
                "\(key).min_version", "\(key).min_version \"\(versions.0.rawValue)\" is above max_version \"\(versions.1.rawValue)\"")
        }
        checkClientAuthentication(with: &reader)
        guard let certFile, let keyFile else { return nil }
        var config = TLSServerConfig(certFile: certFile, keyFile: keyFile, minVersion: versions.0, maxVersion: max(versions.0, versions.1))
        config.keyPasswordFile = keyPasswordFile
        config.clientAuthType = clientAuthType ?? .noClientCert
        config.clientCAFile = clientCAFile
        config.clientCRLFile = clientCRLFile
        config.clientAllowedSANs = clientAllowedSANs
        config.cipherSuites = cipherSuites
        config.prefersServerCipherSuites = prefersServerCipherSuites
        config.curvePreferences = curvePreferences
        return config
    }

    /// A setting that would not do what it says is refused: whoever wrote it relies on it.
    private func checkClientAuthentication(with reader: inout ConfigReader) {
        let typeKey = "\(key).client_auth_type"
        // A type that was refused must not lead to further problems.
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
    ///   - isUsed: whether the listener is switched on: only then are the files needed.
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
                "\(table).tls is \"optional\", but client_auth_type is \(ValueText.quoted(type.rawValue)): plain text would go round it; "
                    + "did you mean \"required\"?")
        }
        guard let server = draft.config(with: &reader), isUsed, mode != .off else { return .off }
        reader.reference("\(key).cert_file", server.certFile)
        reader.reference("\(key).key_file", server.keyFile)
        reader.reference("\(key).key_password_file", server.keyPasswordFile)
        reader.reference("\(key).client_ca_file", server.clientCAFile)
        reader.reference("\(key).client_crl_file", server.clientCRLFile)
        return mode == .optional ? .optional(server) : .required(server)
    }
}

extension ConfigValue where Value == ClientAuthType {
    static var clientAuthType: Self {
        let names = ValueText.alternatives(ClientAuthType.allCases.map { ValueText.quoted($0.rawValue) })
        return .scalar(names, example: ValueText.quoted(ClientAuthType.requireAndVerifyClientCert.rawValue)) {
            (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            if let type = ClientAuthType(rawValue: text) { return type }
            // What is meant must never become something weaker: no guess by likeness. Exporter-toolkit's old name is sure.
            throw Mismatch(
                hint: text == "RequireClientCert" ? "its name is \(ValueText.quoted(ClientAuthType.requireAnyClientCert.rawValue))" : nil)
        }
    }
}
