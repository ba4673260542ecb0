import COpenSSL

/// The calling thread's queue of OpenSSL errors. A caller of OpenSSL empties it first, and reads it at once after a failure, before
/// anything else can run on the thread.
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

    /// The last error, which shows where a reader stopped; 0 when there is none.
    static var last: UInt {
        ERR_peek_last_error()
    }

    /// The text of the first error; empties the queue.
    static func takeReason() -> String {
        let code = first
        clear()
        return reason(of: code)
    }

    /// All errors, the first one first; empties the queue.
    static func takeAll() -> [UInt] {
        var codes: [UInt] = []
        while true {
            let code = ERR_get_error()
            guard code != 0 else { return codes }
            codes.append(code)
        }
    }

    static func reason(of code: UInt) -> String {
        guard code != 0 else { return "unknown error" }
        guard let reason = ERR_reason_error_string(code) else { return "error \(String(code, radix: 16))" }
        return String(cString: reason)
    }

    static func isReason(_ reason: Int32, of library: Int32, _ code: UInt) -> Bool {
        ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason
    }

    /// The number of the alert that the peer sent, if the error is about one.
    static func receivedAlert(in code: UInt) -> UInt8? {
        // OpenSSL gives an alert the reason 1000 + its number; alerts are one byte.
        guard ERR_GET_LIB(code) == ERR_LIB_SSL else { return nil }
        return UInt8(exactly: ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET)
    }

    /// OpenSSL's text for an alert: `unknown CA`.
    static func alertText(_ number: UInt8) -> String {
        switch TLSAlert(number: number) {
        // Alerts of TLS 1.3 that OpenSSL 3.0 has no text for.
        case .missingExtension: return "missing extension"
        case .certificateRequired: return "certificate required"
        default:
            let name = SSL_alert_desc_string_long(Int32(number)).map { String(cString: $0) } ?? "unknown"
            return name == "unknown" ? "number \(number)" : name
        }
    }
}

extension TLSHandshakeFailure {
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
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_CIPHERS_AVAILABLE: self = .cipherSuite
        case SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SHARED_GROUPS, SSL_R_NO_SUITABLE_GROUPS, SSL_R_WRONG_CURVE,
            SSL_R_UNSUPPORTED_ELLIPTIC_CURVE:
            self = .curve
        case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_WRONG_SIGNATURE_TYPE,
            SSL_R_SIGNATURE_ALGORITHMS_ERROR, SSL_R_NO_SUITABLE_DIGEST_ALGORITHM:
            self = .signature
        case SSL_R_NO_APPLICATION_PROTOCOL: self = .applicationProtocol
        case SSL_R_EXCESSIVE_MESSAGE_SIZE: self = .messageTooLarge
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
