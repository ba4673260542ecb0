/// How a listener treats TLS.
public enum ListenerTLS: Equatable, Sendable {
    /// Only plain HTTP, or plain text on a receiver.
    case off
    /// TLS only.
    case required(TLSServerConfig)
    /// TLS and plain text on one port; the first bytes of a connection decide.
    case optional(TLSServerConfig)

    /// As in the configuration.
    public var word: String {
        switch self {
        case .off: "off"
        case .required: "required"
        case .optional: "optional"
        }
    }

    /// The settings of TLS; `nil` when it is off.
    public var settings: TLSServerConfig? {
        switch self {
        case .off: nil
        case .required(let settings), .optional(let settings): settings
        }
    }
}

extension Duration {
    /// A certificate that ends within this time causes a warning: 14 days.
    public static let certificateNotice = Duration.seconds(14 * 86_400)
}

/// A `tls_server_config` table, with the keys of the Prometheus exporter-toolkit web configuration.
public struct TLSServerConfig: Equatable, Sendable {
    /// PEM: the certificate, then its intermediates.
    public var certFile: FileContent
    /// PEM: the certificate's private key.
    public var keyFile: SecretFile
    /// The password of an encrypted private key.
    public var keyPasswordFile: SecretFile? = nil
    /// Which clients are admitted. The other settings are the server's identity and its versions and suites.
    public var clients = ClientAccess()
    /// The lowest version accepted.
    public var minVersion: TLSVersion
    /// The highest version accepted; not below `minVersion`.
    public var maxVersion: TLSVersion
    /// In order of preference, with the names of Go or OpenSSL. The suites of one version replace only the defaults of that version.
    public var cipherSuites: [String] = []
    /// Whether the server's order of suites counts, or the client's.
    public var prefersServerCipherSuites = true
    /// In order of preference, by the names of Go or OpenSSL; empty takes the defaults.
    public var curvePreferences: [String] = []

    /// Makes settings; parameters that are left out have their default.
    public init(certFile: FileContent, keyFile: SecretFile, minVersion: TLSVersion = .tls12, maxVersion: TLSVersion = .tls13) {
        self.certFile = certFile
        self.keyFile = keyFile
        self.minVersion = minVersion
        self.maxVersion = maxVersion
    }
}

/// The server's requirements for clients' certificates.
public struct ClientAccess: Equatable, Sendable {
    /// Whether a certificate is asked for, and whether it is verified.
    public var authType = ClientAuthType.noClientCert
    /// PEM: the authorities of valid client certificates; present with the types that verify.
    public var caFile: FileContent? = nil
    /// PEM: revocation lists.
    public var crlFile: FileContent? = nil
    /// A client's certificate must have one of these names; empty admits all.
    public var allowedSANs: [String] = []

    /// No certificate is asked for.
    public init() {}
}

/// The server's requirements for clients' certificates, named as in Go's `crypto/tls`.
public enum ClientAuthType: String, Equatable, Sendable, CaseIterable {
    /// Asks for none.
    case noClientCert = "NoClientCert"
    /// Asks, and takes any certificate, or none.
    case requestClientCert = "RequestClientCert"
    /// Insists on one, and takes any.
    case requireAnyClientCert = "RequireAnyClientCert"
    /// Asks; the one that comes must be good.
    case verifyClientCertIfGiven = "VerifyClientCertIfGiven"
    /// Insists on a good one.
    case requireAndVerifyClientCert = "RequireAndVerifyClientCert"

    /// Whether a client's certificate is verified against the authorities.
    public var verifies: Bool { self == .verifyClientCertIfGiven || self == .requireAndVerifyClientCert }
}

/// The protocol versions that exporter-proxy speaks, named as in Prometheus's configuration.
public enum TLSVersion: String, Hashable, Sendable, Comparable, CaseIterable {
    case tls12 = "TLS12"
    case tls13 = "TLS13"

    /// Whether `a` is the older version.
    public static func < (a: TLSVersion, b: TLSVersion) -> Bool { a == .tls12 && b == .tls13 }
}

/// A target's `tls_config` table, with the keys of Prometheus's client configuration.
public struct TLSClientConfig: Hashable, Sendable {
    /// PEM: the certificate authorities to trust; `nil` means the system's.
    public var caFile: FileContent? = nil
    /// PEM: the client certificate, then its intermediates. Given together with `keyFile` or not at all.
    public var certFile: FileContent? = nil
    /// PEM: the client certificate's private key.
    public var keyFile: SecretFile? = nil
    /// The name to send and to verify in place of the URL's host.
    public var serverName: String? = nil
    /// Whether any certificate is accepted (`allow_invalid_certs` sets it for all targets without their own table).
    public var insecureSkipVerify = false
    /// The lowest version accepted.
    public var minVersion = TLSVersion.tls12
    /// The highest version accepted; not below `minVersion`.
    public var maxVersion = TLSVersion.tls13
    /// In order of preference, with the names of Go or OpenSSL. The suites of one version replace only the defaults of that version.
    public var cipherSuites: [String] = []
    /// In order of preference, by the names of Go or OpenSSL; empty takes the defaults.
    public var curvePreferences: [String] = []

    /// Settings with every key at its default.
    public init() {}
}
