import COpenSSL

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
    /// Each name behind its length, one after another.
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
    /// - Returns: where the name lies in `clientList`; `nil` without a common protocol.
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
