/// Who may use a listener, as far as TLS and users decide it. The one place that says what counts: connections made under other rules
/// end after their current exchange (SPEC §7).
///
/// What a rotation of the certificate changes is left out; everything else in the TLS table counts, and so do the contents of the files
/// that it names, so that a setting added there is a rule unless it is named here.
public struct AccessRules: Equatable, Sendable {
    private let tls: ListenerTLS
    /// By key, the contents of the files that decide who is let in: authorities and revocation lists.
    private let files: [String: [UInt8]]
    private let users: [String: BcryptHash]

    /// The rules of the scrape listeners.
    public static func scrape(_ loaded: LoadedConfig) -> AccessRules {
        AccessRules(loaded.config.exporter.tls, table: "exporter", users: loaded.config.exporter.basicAuthUsers, loaded)
    }

    /// The rules of the TCP receiver.
    public static func receiver(_ loaded: LoadedConfig) -> AccessRules {
        AccessRules(loaded.config.receiver.tls, table: "receiver", users: [:], loaded)
    }

    private init(_ tls: ListenerTLS, table: String, users: [String: BcryptHash], _ loaded: LoadedConfig) {
        self.users = users
        switch tls {
        case .off: self.tls = .off
        case .required(let config): self.tls = .required(Self.withoutIdentity(config))
        case .optional(let config): self.tls = .optional(Self.withoutIdentity(config))
        }
        let identity = ["cert_file", "key_file", "key_password_file"].map { "\(table).tls_server_config.\($0)" }
        var files: [String: [UInt8]] = [:]
        for reference in loaded.references
        where reference.key.hasPrefix("\(table).tls_server_config.") && !identity.contains(reference.key) {
            files[reference.key] = loaded.files[reference.path]
        }
        self.files = files
    }

    /// Without who the server is and how it speaks, which says nothing of whom it lets in; files count by their contents.
    private static func withoutIdentity(_ config: TLSServerConfig) -> TLSServerConfig {
        var config = config
        config.certFile = ""
        config.keyFile = ""
        config.keyPasswordFile = nil
        config.minVersion = .tls12
        config.maxVersion = .tls13
        config.cipherSuites = []
        config.prefersServerCipherSuites = true
        config.curvePreferences = []
        config.clientCAFile = config.clientCAFile.map { _ in "" }
        config.clientCRLFile = config.clientCRLFile.map { _ in "" }
        return config
    }
}
