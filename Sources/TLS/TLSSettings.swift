import COpenSSL

/// Settings of a server's TLS, all as bytes: building a context reads no file.
public struct TLSServerSettings: Sendable {
    /// PEM: the certificate, then its intermediates.
    public var certificateChain: [UInt8]
    /// PEM.
    public var privateKey: [UInt8]
    /// For an encrypted private key; a line break at its end does not count.
    public var privateKeyPassword: [UInt8]?
    /// The lowest version that is accepted.
    public var minVersion: TLSProtocolVersion
    /// The highest version that is accepted.
    public var maxVersion: TLSProtocolVersion
    /// In order of preference, by the names of Go or OpenSSL; those of one version leave the other's defaults as they are.
    public var cipherSuites: [String]
    /// Whether the server's order counts, or the client's.
    public var prefersOwnCipherSuites: Bool
    /// Groups for key exchange in order of preference, by the names of Go or OpenSSL; empty takes the defaults.
    public var curves: [String]
    /// What is asked of clients.
    public var clientAuthentication: ClientAuthentication
    /// PEM: the authorities whose clients are good; needed by the kinds of authentication that verify.
    public var clientAuthorities: [UInt8]?
    /// PEM: revocation lists. Each authority of a client's chain below the one trusted must then have a current one.
    public var clientRevocations: [UInt8]?
    /// DNS names, IP addresses, e-mail addresses and URIs: a client's certificate must have one of them. Empty admits all.
    public var allowedClientNames: [String]
    /// Offered by ALPN, in order of preference. Empty takes no part in ALPN. A client that offers ALPN but none of these is refused
    /// with the alert no_application_protocol, as RFC 7301 section 3.2 demands; one that does not use ALPN is welcome.
    public var applicationProtocols: [String]
    /// The keys of session tickets; `nil` makes new ones, so that no session of another context is resumed.
    public var tickets: SessionTickets?
    /// Sessions are resumed among servers of equal scope alone.
    public var sessionScope: String

    /// The defaults ask for no client certificate.
    /// - Parameters:
    ///   - certificateChain: PEM: the certificate, then its intermediates.
    ///   - privateKey: PEM.
    public init(
        certificateChain: [UInt8], privateKey: [UInt8], privateKeyPassword: [UInt8]? = nil, minVersion: TLSProtocolVersion = .tls12,
        maxVersion: TLSProtocolVersion = .tls13, cipherSuites: [String] = [], prefersOwnCipherSuites: Bool = true, curves: [String] = [],
        clientAuthentication: ClientAuthentication = .none, clientAuthorities: [UInt8]? = nil, clientRevocations: [UInt8]? = nil,
        allowedClientNames: [String] = [], applicationProtocols: [String] = [], tickets: SessionTickets? = nil, sessionScope: String = ""
    ) {
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.privateKeyPassword = privateKeyPassword
        self.minVersion = minVersion
        self.maxVersion = maxVersion
        self.cipherSuites = cipherSuites
        self.prefersOwnCipherSuites = prefersOwnCipherSuites
        self.curves = curves
        self.clientAuthentication = clientAuthentication
        self.clientAuthorities = clientAuthorities
        self.clientRevocations = clientRevocations
        self.allowedClientNames = allowedClientNames
        self.applicationProtocols = applicationProtocols
        self.tickets = tickets
        self.sessionScope = sessionScope
    }
}

extension TLSServerSettings {
    /// All that a new handshake is held to, so that nothing is resumed that it would refuse. The certificate is not part of it: a
    /// rotation spares sessions.
    var sessionIdentity: [UInt8] {
        var identity: [UInt8] = []
        func add(_ bytes: [UInt8]) {
            withUnsafeBytes(of: UInt64(bytes.count)) { identity += $0 }
            identity += bytes
        }
        add(Array(sessionScope.utf8))
        add([minVersion == .tls13 ? 1 : 0, maxVersion == .tls13 ? 1 : 0, clientAuthentication.rawValue])
        add(clientAuthorities ?? [])
        add(clientRevocations ?? [])
        for list in [allowedClientNames, cipherSuites, curves] {
            add([])
            for item in list { add(Array(item.utf8)) }
        }
        return identity
    }
}

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

/// The versions of TLS that are spoken here; older ones are not.
public enum TLSProtocolVersion: Sendable, Comparable {
    /// RFC 5246, with authenticated ciphers and forward secrecy alone.
    case tls12
    /// RFC 8446.
    case tls13

    var openSSLValue: Int32 {
        switch self {
        case .tls12: TLS1_2_VERSION
        case .tls13: TLS1_3_VERSION
        }
    }
}

/// What a server asks of its clients' certificates: Go's `tls.ClientAuthType`, which Prometheus's configuration names.
/// Whoever presents a certificate always has to prove that its key is there too.
public enum ClientAuthentication: UInt8, Sendable, CaseIterable {
    /// Asks for none.
    case none
    /// Asks, and takes any certificate, or none.
    case request
    /// Insists on one, and takes any.
    case requireAny
    /// Asks; the one that comes must be good.
    case verifyIfGiven
    /// Insists on a good one.
    case requireAndVerify

    var asks: Bool { self != .none }
    var requires: Bool { self == .requireAny || self == .requireAndVerify }
    /// Whether chain, time and revocation count.
    public var verifies: Bool { self == .verifyIfGiven || self == .requireAndVerify }
}
