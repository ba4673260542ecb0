import COpenSSL

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
