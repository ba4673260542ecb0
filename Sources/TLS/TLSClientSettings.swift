/// Settings of a client's TLS.
public struct TLSClientSettings: Sendable {
    /// Whom to trust.
    public enum TrustRoots: Sendable {
        /// The authorities that the system trusts. OpenSSL reads the ones it needs from the system's folder during the handshake, and
        /// keeps them; the environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name other places.
        case system
        /// PEM. Each certificate is trusted as it is, be it a root, an intermediate or a server's own.
        case certificates([UInt8])
    }

    /// Whom to trust; of no use when `verifiesPeer` is false.
    public var trustRoots: TrustRoots
    /// PEM; the certificate, then its intermediates; `nil` sends none.
    public var certificateChain: [UInt8]?
    /// PEM, unencrypted.
    public var privateKey: [UInt8]?
    /// Whether the peer's certificate and its name are checked.
    public var verifiesPeer: Bool
    /// The lowest version that is accepted.
    public var minVersion: TLSProtocolVersion
    /// Offered by ALPN, in order of preference; empty takes no part in ALPN.
    public var applicationProtocols: [String]

    /// The defaults trust the system's authorities, check the peer and send no certificate.
    public init(
        trustRoots: TrustRoots = .system, certificateChain: [UInt8]? = nil, privateKey: [UInt8]? = nil, verifiesPeer: Bool = true,
        minVersion: TLSProtocolVersion = .tls12, applicationProtocols: [String] = []
    ) {
        self.trustRoots = trustRoots
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.verifiesPeer = verifiesPeer
        self.minVersion = minVersion
        self.applicationProtocols = applicationProtocols
    }
}
