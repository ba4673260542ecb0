import COpenSSL

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
