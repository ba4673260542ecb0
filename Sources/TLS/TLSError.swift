import COpenSSL

/// What can be wrong with TLS settings or go wrong on a connection.
public enum TLSError: Error, Equatable, Sendable {
    // Settings.

    /// The certificate chain cannot be used; says why.
    case invalidCertificate(String)
    /// The private key cannot be used; says why.
    case invalidPrivateKey(String)
    /// The private key is encrypted and no password was given.
    case privateKeyNeedsPassword
    /// The private key's password cannot be used; says why.
    case wrongPrivateKeyPassword(String)
    /// The private key belongs to another certificate.
    case certificateDoesNotMatchKey
    /// The trusted authorities cannot be used; says why.
    case invalidTrustRoots(String)
    /// The authorities of clients cannot be used; says why.
    case invalidClientAuthorities(String)
    /// The revocation lists cannot be used; says why.
    case invalidRevocationList(String)
    /// This OpenSSL has no cipher suite of this name.
    case unknownCipherSuite(String)
    /// This OpenSSL has no group of this name.
    case unknownCurve(String)
    /// No TLS 1.2 suite that was chosen fits the certificate's key, and nothing newer may be spoken.
    case noCipherSuiteForKey
    /// No protocol version is left between the two.
    case minVersionAboveMaxVersion
    /// OpenSSL refused something that is no setting of ours, such as memory; says what.
    case openSSLFailed(String)

    // Connections.

    /// The handshake ended without a connection; says why.
    case handshakeFailed(String)
    /// The handshake was not complete in time.
    case handshakeTimeout
    /// The transport ended before the handshake was complete: a port scan, a health check, or a peer that gave up.
    case closedDuringHandshake
    /// A client sent an HTTP request in plain text to a port that expects TLS.
    case plainHTTPRequest
    /// The peer's certificate, or its name, is not trusted; says why.
    case peerNotVerified(String)
    /// The peer ended the connection with this alert (RFC 8446 section 6.2), such as `unknown CA`.
    case alertReceived(String)
    /// The peer ended without close_notify: what came may be cut short.
    case truncated
    /// The peer broke the protocol after the handshake; says how.
    case protocolViolation(String)
}

extension TLSError {
    /// Whether it ends handshakes; an alert may come later too, and seldom does.
    public var endsHandshake: Bool {
        switch self {
        case .handshakeFailed, .handshakeTimeout, .closedDuringHandshake, .plainHTTPRequest, .peerNotVerified, .alertReceived: true
        default: false
        }
    }
}

extension TLSError: CustomStringConvertible {
    /// One sentence for a log or a configuration problem.
    public var description: String {
        switch self {
        case .invalidCertificate(let reason): "the certificate cannot be used: \(reason)"
        case .invalidPrivateKey(let reason): "the private key cannot be used: \(reason)"
        case .privateKeyNeedsPassword: "the private key is encrypted and there is no password for it"
        case .wrongPrivateKeyPassword(let reason): "the private key's password cannot be used: \(reason)"
        case .certificateDoesNotMatchKey: "the private key does not belong to the certificate"
        case .invalidTrustRoots(let reason): "the trusted certificate authorities cannot be used: \(reason)"
        case .invalidClientAuthorities(let reason): "the certificate authorities of clients cannot be used: \(reason)"
        case .invalidRevocationList(let reason): "the revocation lists cannot be used: \(reason)"
        case .unknownCipherSuite(let name): "no cipher suite \(name); there are \(CipherSuites.names.joined(separator: ", "))"
        case .unknownCurve(let name): "no curve \(name); there are \(Curves.names.joined(separator: ", "))"
        case .noCipherSuiteForKey: "none of the cipher suites fits the kind of key that the certificate has"
        case .minVersionAboveMaxVersion: "the lowest TLS version is above the highest"
        case .openSSLFailed(let reason): "OpenSSL failed: \(reason)"
        case .handshakeFailed(let reason): "the TLS handshake failed: \(reason)"
        case .handshakeTimeout: "the TLS handshake took too long"
        case .closedDuringHandshake: "the peer closed the connection during the TLS handshake"
        case .plainHTTPRequest: "the client sent a plain HTTP request to a TLS port"
        case .peerNotVerified(let reason): "the peer's certificate is not trusted: \(reason)"
        case .alertReceived(let alert): "the peer ended the connection with the TLS alert \"\(alert)\""
        case .truncated: "the peer closed the connection without close_notify, so data may be missing"
        case .protocolViolation(let reason): "the peer broke the TLS protocol: \(reason)"
        }
    }
}

/// Why a handshake came to nothing: one of a fixed set of words, for counters and for the log.
public enum TLSHandshakeFailure: String, Sendable, CaseIterable {
    /// It was not complete in time.
    case timeout
    /// The peer went away: a port scan, a health check, or a peer that gave up.
    case closed
    /// Bytes that are no TLS.
    case notTLS = "not_tls"
    /// A request in plain HTTP.
    case plainHTTP = "plain_http"
    /// No version of TLS in common.
    case version
    /// No cipher suite or kind of signature in common.
    case cipherSuite = "cipher_suite"
    /// No group for the key exchange in common.
    case curve
    /// No application protocol in common (ALPN).
    case applicationProtocol = "application_protocol"
    /// A client without the certificate that it must have.
    case noCertificate = "no_certificate"
    /// The peer's certificate is out of its time.
    case certificateExpired = "certificate_expired"
    /// The peer's certificate, or one above it, was revoked.
    case certificateRevoked = "certificate_revoked"
    /// The list that would say whether the certificate was revoked is missing or out of date.
    case revocationUnknown = "revocation_unknown"
    /// None of the certificate's names is among those allowed.
    case nameNotAllowed = "name_not_allowed"
    /// The peer's certificate is not trusted for another reason.
    case certificateUntrusted = "certificate_untrusted"
    /// The peer ended the handshake with an alert: it does not trust us, say.
    case alert
    /// Messages that break the protocol, and whatever else OpenSSL finds wrong.
    case protocolError = "protocol_error"

    /// - Parameter code: the first of OpenSSL's errors.
    init(openSSLError code: UInt) {
        guard ERR_GET_LIB(code) == ERR_LIB_SSL else {
            self = .protocolError
            return
        }
        switch ERR_GET_REASON(code) {
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST: self = .notTLS
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_UNKNOWN_PROTOCOL, SSL_R_WRONG_SSL_VERSION, SSL_R_VERSION_TOO_LOW, SSL_R_VERSION_TOO_HIGH,
            SSL_R_INAPPROPRIATE_FALLBACK:
            self = .version
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_CIPHERS_AVAILABLE, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS,
            SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
            self = .cipherSuite
        case SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SHARED_GROUPS, SSL_R_NO_SUITABLE_GROUPS: self = .curve
        case SSL_R_NO_APPLICATION_PROTOCOL: self = .applicationProtocol
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: self = .noCertificate
        default: self = .protocolError
        }
    }

    /// - Parameter problem: OpenSSL's verdict on a certificate.
    init(verifyResult problem: Int) {
        switch Int32(truncatingIfNeeded: problem) {
        case X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID: self = .certificateExpired
        case X509_V_ERR_CERT_REVOKED: self = .certificateRevoked
        case X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID,
            X509_V_ERR_CRL_SIGNATURE_FAILURE, X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
            self = .revocationUnknown
        case X509_V_ERR_APPLICATION_VERIFICATION: self = .nameNotAllowed
        default: self = .certificateUntrusted
        }
    }
}

/// The calling thread's queue of OpenSSL errors. Whoever calls OpenSSL empties it first, and reads it at once after a failure,
/// before anything else can run on the thread.
enum OpenSSLErrorQueue {
    static func clear() {
        ERR_clear_error()
    }

    /// The error that came first, which is the cause of those behind it; 0 when there is none.
    static var first: UInt {
        ERR_peek_error()
    }

    /// The first error, unless only the last one is about TLS: a check of a certificate may leave others before it.
    static var cause: UInt {
        ERR_GET_LIB(first) != ERR_LIB_SSL && ERR_GET_LIB(last) == ERR_LIB_SSL ? last : first
    }

    /// The error that came last, which tells where a reader gave up; 0 when there is none.
    static var last: UInt {
        ERR_peek_last_error()
    }

    /// The words of the first error; empties the queue.
    static func takeReason() -> String {
        let code = first
        clear()
        return reason(of: code)
    }

    static func reason(of code: UInt) -> String {
        guard code != 0 else { return "unknown error" }
        guard let reason = ERR_reason_error_string(code) else { return "error \(String(code, radix: 16))" }
        return String(cString: reason)
    }

    static func isReason(_ reason: Int32, of library: Int32, _ code: UInt) -> Bool {
        ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason
    }

    /// The alert that the peer sent, when the error tells of one.
    static func receivedAlert(in code: UInt) -> String? {
        let reason = ERR_GET_REASON(code)
        // OpenSSL gives an alert the reason 1000 + its number; alerts are one byte.
        guard ERR_GET_LIB(code) == ERR_LIB_SSL, reason >= SSL_AD_REASON_OFFSET, reason < SSL_AD_REASON_OFFSET + 256 else { return nil }
        return alertName(reason - SSL_AD_REASON_OFFSET)
    }

    private static func alertName(_ number: Int32) -> String {
        switch number {
        // Those of TLS 1.3 that OpenSSL 3.0 has no words for, the one that clients hear most among them.
        case SSL_AD_MISSING_EXTENSION: return "missing extension"
        case SSL_AD_CERTIFICATE_REQUIRED: return "certificate required"
        default:
            let name = SSL_alert_desc_string_long(number).map { String(cString: $0) } ?? "unknown"
            return name == "unknown" ? "number \(number)" : name
        }
    }
}
