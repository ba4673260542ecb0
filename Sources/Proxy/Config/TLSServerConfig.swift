/// A `tls_server_config` table, with the keys of the Prometheus exporter-toolkit web configuration.
public struct TLSServerConfig: Equatable, Sendable {
    /// PEM file: the certificate, then its intermediates.
    public var certFile: String
    /// PEM file: the certificate's private key.
    public var keyFile: String
    /// File with the password of an encrypted private key.
    public var keyPasswordFile: String? = nil
    /// What is asked of clients.
    public var clientAuthType = ClientAuthType.noClientCert
    /// PEM file of the authorities whose clients are good; there with the types that verify.
    public var clientCAFile: String? = nil
    /// PEM file of revocation lists.
    public var clientCRLFile: String? = nil
    /// A client's certificate must have one of these names; empty admits all.
    public var clientAllowedSANs: [String] = []
    /// The lowest version accepted.
    public var minVersion: TLSVersion
    /// The highest version accepted; not below `minVersion`.
    public var maxVersion: TLSVersion
    /// In order of preference, by the names of Go or OpenSSL; those of one version leave the other's defaults as they are.
    public var cipherSuites: [String] = []
    /// Whether the server's order of suites counts, or the client's.
    public var prefersServerCipherSuites = true
    /// In order of preference, by the names of Go or OpenSSL; empty takes the defaults.
    public var curvePreferences: [String] = []

    /// Settings; what is left out is at its default.
    public init(certFile: String, keyFile: String, minVersion: TLSVersion = .tls12, maxVersion: TLSVersion = .tls13) {
        self.certFile = certFile
        self.keyFile = keyFile
        self.minVersion = minVersion
        self.maxVersion = maxVersion
    }
}

/// What a server asks of its clients' certificates, named as in Go's `crypto/tls`.
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

    /// Whether a client's certificate is held against the authorities.
    public var verifies: Bool { self == .verifyClientCertIfGiven || self == .requireAndVerifyClientCert }
}

/// The protocol versions that exporter-proxy speaks, named as in Prometheus's configuration.
public enum TLSVersion: String, Equatable, Sendable, Comparable, CaseIterable {
    case tls12 = "TLS12"
    case tls13 = "TLS13"

    /// Whether `a` is the older version.
    public static func < (a: TLSVersion, b: TLSVersion) -> Bool { a == .tls12 && b == .tls13 }
}
