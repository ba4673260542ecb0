import COpenSSL

/// TLS settings of a server. All are bytes, so building a context reads no file. Equal values make contexts that behave the same.
public struct TLSServerSettings: Hashable, Sendable {
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
    /// In order of preference, with the names of Go or OpenSSL. The suites of one version replace only the defaults of that version.
    public var cipherSuites: [String]
    /// Whether the server's order decides, or the client's.
    public var prefersOwnCipherSuites: Bool
    /// Groups for key exchange in order of preference, by the names of Go or OpenSSL; empty takes the defaults.
    public var curves: [String]
    /// Whether clients need a certificate.
    public var clientAuthentication: ClientAuthentication
    /// PEM: the authorities of clients' certificates; needed by the kinds of authentication that verify.
    public var clientAuthorities: [UInt8]?
    /// PEM: revocation lists. Each authority of a client's chain below the trusted one must then have a current list.
    public var clientRevocations: [UInt8]?
    /// DNS names, IP addresses, e-mail addresses and URIs: a client's certificate must have one of them. Empty allows all.
    public var allowedClientNames: [String]
    /// Offered by ALPN, in order of preference. Empty takes no part in ALPN. A client that offers ALPN but none of these is refused
    /// with the alert no_application_protocol, as RFC 7301 section 3.2 demands; one that does not use ALPN is accepted.
    public var applicationProtocols: [String]
    /// The keys of session tickets; `nil` makes new ones, so that no session of another context is resumed.
    public var tickets: SessionTickets?
    /// Sessions are resumed only among servers of equal scope.
    public var sessionScope: String
    /// The limit of all handshakes together; `nil` counts and limits nothing.
    public var handshakeLimit: HandshakeLimit?

    /// The defaults ask for no client certificate.
    /// - Parameters:
    ///   - certificateChain: PEM: the certificate, then its intermediates.
    ///   - privateKey: PEM.
    public init(
        certificateChain: [UInt8], privateKey: [UInt8], privateKeyPassword: [UInt8]? = nil, minVersion: TLSProtocolVersion = .tls12,
        maxVersion: TLSProtocolVersion = .tls13, cipherSuites: [String] = [], prefersOwnCipherSuites: Bool = true, curves: [String] = [],
        clientAuthentication: ClientAuthentication = .none, clientAuthorities: [UInt8]? = nil, clientRevocations: [UInt8]? = nil,
        allowedClientNames: [String] = [], applicationProtocols: [String] = [], tickets: SessionTickets? = nil,
        sessionScope: String = "", handshakeLimit: HandshakeLimit? = nil
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
        self.handshakeLimit = handshakeLimit
    }

    /// All rules that a new handshake must satisfy. A session made under other rules is not resumed. The certificate is not part of it:
    /// after a rotation sessions are resumed.
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

/// TLS settings of a client. All are bytes, so building a context reads no file except the system's authorities.
public struct TLSClientSettings: Hashable, Sendable {
    /// The authorities that are trusted.
    public enum TrustRoots: Hashable, Sendable {
        /// Those of this machine.
        case system(SystemAuthorities)
        /// PEM. Each certificate is trusted by itself, also an intermediate or a server's own.
        case certificates([UInt8])

        /// Not of all bytes: a file may have hundreds of kilobytes, and each of many targets looks for its context several times.
        public func hash(into hasher: inout Hasher) {
            switch self {
            case .system(let authorities): hasher.combine(authorities)
            case .certificates(let file):
                hasher.combine(file.count)
                hasher.combine(file.suffix(256))
            }
        }
    }

    /// When `verifiesPeer` is false, certificates must only be readable.
    public var trustRoots: TrustRoots
    /// PEM; the certificate, then its intermediates; `nil` sends none.
    public var certificateChain: [UInt8]?
    /// PEM, unencrypted.
    public var privateKey: [UInt8]?
    /// Whether the peer's certificate and its name are checked.
    public var verifiesPeer: Bool
    /// The lowest version that is accepted.
    public var minVersion: TLSProtocolVersion
    /// The highest version that is accepted.
    public var maxVersion: TLSProtocolVersion
    /// In order of preference, with the names of Go or OpenSSL. The suites of one version replace only the defaults of that version.
    public var cipherSuites: [String]
    /// Groups for key exchange in order of preference, by the names of Go or OpenSSL; empty takes the defaults.
    public var curves: [String]
    /// Offered by ALPN, in order of preference; empty takes no part in ALPN.
    public var applicationProtocols: [String]
    /// Counts what handshakes hold, and never refuses one; `nil` counts nothing.
    public var handshakeLimit: HandshakeLimit?
    /// The schemes with which a server may sign, by OpenSSL's names; empty takes OpenSSL's defaults.
    var signatureSchemes: [String] = []

    /// The defaults check the peer, send no certificate, and offer what Go's clients have offered.
    public init(
        trustRoots: TrustRoots, certificateChain: [UInt8]? = nil, privateKey: [UInt8]? = nil, verifiesPeer: Bool = true,
        minVersion: TLSProtocolVersion = .tls12, maxVersion: TLSProtocolVersion = .tls13, cipherSuites: [String] = [],
        curves: [String] = [], applicationProtocols: [String] = [], handshakeLimit: HandshakeLimit? = nil
    ) {
        self.trustRoots = trustRoots
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.verifiesPeer = verifiesPeer
        self.minVersion = minVersion
        self.maxVersion = maxVersion
        self.cipherSuites = cipherSuites
        self.curves = curves
        self.applicationProtocols = applicationProtocols
        self.handshakeLimit = handshakeLimit
    }
}

/// A part of the settings that contexts share: equal only to itself.
public protocol SharedSetting: AnyObject, Hashable {}

extension SharedSetting {
    /// Whether both are the same object.
    public static func == (left: Self, right: Self) -> Bool { left === right }

    /// Adds the identity of the object.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// The versions of TLS that are supported.
public enum TLSProtocolVersion: Sendable, Comparable {
    /// RFC 5246.
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

/// What a server requires of its clients' certificates: Go's `tls.ClientAuthType`, as in Prometheus's configuration.
/// A client that sends a certificate always has to prove that it has the key.
public enum ClientAuthentication: UInt8, Sendable, CaseIterable {
    /// Asks for none.
    case none
    /// Asks, and accepts any certificate, or none.
    case request
    /// Requires one, and accepts any.
    case requireAny
    /// Asks; a certificate that is sent must be valid.
    case verifyIfGiven
    /// Requires a valid one.
    case requireAndVerify

    var asks: Bool { self != .none }
    var requires: Bool { self == .requireAny || self == .requireAndVerify }
    /// Whether chain, dates and revocation are checked.
    public var verifies: Bool { self == .verifyIfGiven || self == .requireAndVerify }
}

/// The cipher suites that this OpenSSL has and allows at its security level, except those without authentication or encryption.
public enum CipherSuites {
    /// One suite.
    struct Suite: Sendable {
        /// IANA's name, which Go uses too: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
        var name: String
        /// OpenSSL's name: `ECDHE-RSA-AES128-GCM-SHA256`; of TLS 1.3 the same as IANA's.
        var openSSLName: String
        var isTLS13: Bool
        /// The kind of key that it needs, as an OpenSSL identifier.
        var authentication: Int32
        var keyExchange: Int32

        /// Whether it needs parameters for Diffie-Hellman in a prime field.
        var needsDHParameters: Bool { keyExchange == NID_kx_dhe }

        /// Whether a certificate with such a key can be used with it in TLS 1.2.
        /// - Parameter kind: OpenSSL's number, such as `EVP_PKEY_RSA`.
        func fits(keysOfKind kind: Int32) -> Bool {
            switch kind {
            case EVP_PKEY_RSA: authentication == NID_auth_rsa
            // Such a key only signs, and cannot decrypt, as RSA key exchange needs it.
            case EVP_PKEY_RSA_PSS: authentication == NID_auth_rsa && keyExchange != NID_kx_rsa
            case EVP_PKEY_DSA: authentication == NID_auth_dss
            // ECDSA, and EdDSA (RFC 8422 section 5.10).
            default: authentication == NID_auth_ecdsa
            }
        }
    }

    /// Their names as Go writes them, those of TLS 1.3 first.
    static var names: [String] { all.filter(\.isTLS13).map(\.name) + all.filter { !$0.isTLS13 }.map(\.name) }

    /// Whether there is a suite of this name, Go's or OpenSSL's.
    public static func has(_ name: String) -> Bool { suite(named: name) != nil }

    static func suite(named name: String) -> Suite? {
        let name = goAliases[name] ?? name
        return all.first { $0.name == name || $0.openSSLName == name }
    }

    /// The suites of this OpenSSL, in its own order.
    private static let all: [Suite] = {
        OpenSSLErrorQueue.clear()
        defer { OpenSSLErrorQueue.clear() }
        guard let context = SSL_CTX_new(TLS_server_method()) else { return [] }
        defer { SSL_CTX_free(context) }
        SSL_CTX_set_cipher_list(context, "ALL:!aNULL:!eNULL:!PSK:!SRP")
        SSL_CTX_set_ciphersuites(context, tls13)
        guard let connection = SSL_new(context) else { return [] }
        defer { SSL_free(connection) }
        guard let ciphers = SSL_get1_supported_ciphers(connection) else { return [] }
        defer { OPENSSL_sk_free(ciphers) }
        return (0..<OPENSSL_sk_num(ciphers)).compactMap { index in
            guard let cipher = OPENSSL_sk_value(ciphers, index).map({ OpaquePointer($0) }),
                let name = SSL_CIPHER_standard_name(cipher), let openSSLName = SSL_CIPHER_get_name(cipher)
            else { return nil }
            return Suite(
                name: String(cString: name), openSSLName: String(cString: openSSLName),
                isTLS13: SSL_CIPHER_get_kx_nid(cipher) == NID_kx_any, authentication: SSL_CIPHER_get_auth_nid(cipher),
                keyExchange: SSL_CIPHER_get_kx_nid(cipher))
        }
    }()

    /// RFC 8446 section B.4. OpenSSL has no name for all of them.
    private static let tls13 =
        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"

    /// Names that Go had before the RFC and still accepts.
    private static let goAliases = [
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ]
}

/// The groups for key exchange that this OpenSSL has, by the names of Go and of OpenSSL.
public enum Curves {
    /// Those that are offered if none are chosen. P-521 is last; it is for certificates of that curve.
    static let defaults = ["X25519", "P-256", "P-384", "P-521"]

    /// Their names: Go's where it has one, else OpenSSL's.
    static let names: [String] = {
        let candidates =
            ["X25519MLKEM768", "X25519", "CurveP256", "CurveP384", "CurveP521", "X448", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"]
            + ["brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"]
        return candidates.filter(has)
    }()

    /// Whether there is a group of this name.
    public static func has(_ name: String) -> Bool {
        // OpenSSL accepts whole lists, in which `?` and `*` have a meaning.
        guard !name.isEmpty, name.utf8.allSatisfy({ $0.isLetterOrDigit || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }) else {
            return false
        }
        OpenSSLErrorQueue.clear()
        defer { OpenSSLErrorQueue.clear() }
        guard let context = SSL_CTX_new(TLS_server_method()) else { return false }
        defer { SSL_CTX_free(context) }
        return copenssl_ctx_set1_groups_list(context, openSSLName(of: name)) == 1
    }

    static func openSSLName(of name: String) -> String {
        switch name {
        case "CurveP256": "P-256"
        case "CurveP384": "P-384"
        case "CurveP521": "P-521"
        default: name
        }
    }
}

extension UInt8 {
    fileprivate var isLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        default: false
        }
    }
}

/// The application protocols of one side, in order of preference (ALPN, RFC 7301).
final class OfferedProtocols: Sendable {
    /// Each name, preceded by its length.
    let wireFormat: [UInt8]
    private let names: [[UInt8]]

    /// - Throws: `openSSLFailed` for a name that the protocol cannot carry.
    init(_ protocols: [String]) throws(TLSSettingsError) {
        names = protocols.map { Array($0.utf8) }
        guard names.allSatisfy({ (1...255).contains($0.count) }) else { throw .openSSLFailed("an ALPN name is 1 to 255 bytes long") }
        wireFormat = names.flatMap { [UInt8($0.count)] + $0 }
    }

    var isEmpty: Bool {
        names.isEmpty
    }

    /// Picks the first of our protocols that the client offers too.
    /// - Parameter clientList: the client's list in wire format.
    /// - Returns: the range of the name in `clientList`; `nil` without a common protocol.
    func choose(from clientList: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
        for name in names {
            var position = 0
            while position < clientList.count {
                let start = position + 1
                let end = start + Int(clientList[position])
                guard end <= clientList.count else { break }
                if clientList[start..<end].elementsEqual(name) { return start..<end }
                position = end
            }
        }
        return nil
    }
}
