import COpenSSL

/// The groups for key exchange that this OpenSSL has, by the names of Go and of OpenSSL.
public enum Curves {
    /// Their names: Go's where it has one, else OpenSSL's.
    public static let names: [String] = {
        let candidates =
            ["X25519MLKEM768", "X25519", "CurveP256", "CurveP384", "CurveP521", "X448", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"]
            + ["brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"]
        return candidates.filter(has)
    }()

    /// Whether there is a group of this name.
    public static func has(_ name: String) -> Bool {
        // OpenSSL takes whole lists, and `?` and `*` have a meaning in them.
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
