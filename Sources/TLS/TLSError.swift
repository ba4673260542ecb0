import COpenSSL

/// What is wrong with the settings of a `TLSContext`.
public enum TLSSettingsError: Error, Equatable, Sendable {
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
    /// No TLS 1.2 suite that was chosen fits the certificate's key, and TLS 1.3 is not allowed.
    case noCipherSuiteForKey
    /// Every handshake would fail, whatever the client offers; says why.
    case noClientCanConnect(String)
    /// No protocol version is left between the two.
    case minVersionAboveMaxVersion
    /// OpenSSL failed for a reason that no setting causes, such as memory; says why.
    case openSSLFailed(String)
}

extension TLSSettingsError: CustomStringConvertible {
    /// One sentence for a configuration problem.
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
        case .noClientCanConnect(let reason): "no client can connect: \(reason)"
        case .minVersionAboveMaxVersion: "the lowest TLS version is above the highest"
        case .openSSLFailed(let reason): "OpenSSL failed: \(reason)"
        }
    }
}

/// What ends a connection.
public enum TLSError: Error, Equatable, Sendable {
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
    /// The peer ended without close_notify, so data may be missing.
    case truncated
    /// The peer broke the protocol after the handshake; says how.
    case protocolViolation(String)
    /// OpenSSL failed for a reason that no peer causes, such as memory; says why.
    case openSSLFailed(String)

    /// Whether it ends handshakes. An alert can also come later.
    public var endsHandshake: Bool {
        switch self {
        case .handshakeFailed, .handshakeTimeout, .closedDuringHandshake, .plainHTTPRequest, .peerNotVerified, .alertReceived: true
        case .truncated, .protocolViolation, .openSSLFailed: false
        }
    }
}

extension TLSError: CustomStringConvertible {
    /// One sentence for a log.
    public var description: String {
        switch self {
        case .handshakeFailed(let reason): "the TLS handshake failed: \(reason)"
        case .handshakeTimeout: "the TLS handshake took too long"
        case .closedDuringHandshake: "the peer closed the connection during the TLS handshake"
        case .plainHTTPRequest: "the client sent a plain HTTP request to a TLS port"
        case .peerNotVerified(let reason): "the peer's certificate is not trusted: \(reason)"
        case .alertReceived(let alert): "the peer ended the connection with the TLS alert \"\(alert)\""
        case .truncated: "the peer closed the connection without close_notify, so data may be missing"
        case .protocolViolation(let reason): "the peer broke the TLS protocol: \(reason)"
        case .openSSLFailed(let reason): "OpenSSL failed: \(reason)"
        }
    }
}

/// Why a handshake failed: one of a fixed set of words, for counters and for the log.
public enum TLSHandshakeFailure: Hashable, Sendable {
    /// It was not complete in time.
    case timeout
    /// The peer closed the connection: a port scan, a health check, or a peer that gave up.
    case closed
    /// It was ended, or not begun, because all handshakes in progress together held too much memory.
    case tooMany
    /// The bytes are not TLS.
    case notTLS
    /// A request in plain HTTP.
    case plainHTTP
    /// No version of TLS in common.
    case version
    /// No cipher suite in common.
    case cipherSuite
    /// No group for the key exchange in common, or a certificate's key on a curve that is not allowed.
    case curve
    /// No kind of signature in common, or a signature of a kind that was not offered.
    case signature
    /// No application protocol in common (ALPN).
    case applicationProtocol
    /// A handshake message longer than is accepted.
    case messageTooLarge
    /// A client without the required certificate.
    case noCertificate
    /// The peer's certificate is not valid yet, or not valid any more.
    case certificateExpired
    /// The peer's certificate, or one above it, was revoked.
    case certificateRevoked
    /// The revocation list for the certificate is missing or out of date.
    case revocationUnknown
    /// None of the certificate's names is among those allowed.
    case nameNotAllowed
    /// The peer's certificate is not trusted for another reason.
    case certificateUntrusted
    /// The peer ended the handshake with this alert.
    case alert(TLSAlert)
    /// Messages that break the protocol, and all other errors of OpenSSL.
    case protocolError

    /// The value of the label `reason`.
    public var word: String {
        switch self {
        case .timeout: "timeout"
        case .closed: "closed"
        case .tooMany: "too_many"
        case .notTLS: "not_tls"
        case .plainHTTP: "plain_http"
        case .version: "version"
        case .cipherSuite: "cipher_suite"
        case .curve: "curve"
        case .signature: "signature"
        case .applicationProtocol: "application_protocol"
        case .messageTooLarge: "message_too_large"
        case .noCertificate: "no_certificate"
        case .certificateExpired: "certificate_expired"
        case .certificateRevoked: "certificate_revoked"
        case .revocationUnknown: "revocation_unknown"
        case .nameNotAllowed: "name_not_allowed"
        case .certificateUntrusted: "certificate_untrusted"
        case .alert(let alert): "alert_\(alert.word)"
        case .protocolError: "protocol_error"
        }
    }
}

extension TLSHandshakeFailure: CaseIterable {
    /// All of them, with one for each alert.
    public static let allCases: [Self] =
        [
            .timeout, .closed, .tooMany, .notTLS, .plainHTTP, .version, .cipherSuite, .curve, .signature, .applicationProtocol,
            .messageTooLarge, .noCertificate, .certificateExpired, .certificateRevoked, .revocationUnknown, .nameNotAllowed,
            .certificateUntrusted, .protocolError,
        ] + TLSAlert.allCases.map(Self.alert)
}

/// The alerts that end a connection (RFC 8446 section 6.2), by their numbers.
public enum TLSAlert: UInt8, Sendable, CaseIterable {
    case closeNotify = 0
    case unexpectedMessage = 10
    case badRecordMAC = 20
    case recordOverflow = 22
    case handshakeFailure = 40
    case badCertificate = 42
    case unsupportedCertificate = 43
    case certificateRevoked = 44
    case certificateExpired = 45
    case certificateUnknown = 46
    case illegalParameter = 47
    case unknownCA = 48
    case accessDenied = 49
    case decodeError = 50
    case decryptError = 51
    case protocolVersion = 70
    case insufficientSecurity = 71
    case internalError = 80
    case inappropriateFallback = 86
    case userCanceled = 90
    case noRenegotiation = 100
    case missingExtension = 109
    case unsupportedExtension = 110
    case unrecognizedName = 112
    case badCertificateStatusResponse = 113
    case unknownPSKIdentity = 115
    case certificateRequired = 116
    case noApplicationProtocol = 120
    /// Any other number.
    case other = 255

    /// - Parameter number: as the peer sent it.
    init(number: UInt8) {
        self = Self(rawValue: number) ?? .other
    }

    /// The name in the RFC: `unknown_ca`.
    var word: String {
        switch self {
        case .closeNotify: "close_notify"
        case .unexpectedMessage: "unexpected_message"
        case .badRecordMAC: "bad_record_mac"
        case .recordOverflow: "record_overflow"
        case .handshakeFailure: "handshake_failure"
        case .badCertificate: "bad_certificate"
        case .unsupportedCertificate: "unsupported_certificate"
        case .certificateRevoked: "certificate_revoked"
        case .certificateExpired: "certificate_expired"
        case .certificateUnknown: "certificate_unknown"
        case .illegalParameter: "illegal_parameter"
        case .unknownCA: "unknown_ca"
        case .accessDenied: "access_denied"
        case .decodeError: "decode_error"
        case .decryptError: "decrypt_error"
        case .protocolVersion: "protocol_version"
        case .insufficientSecurity: "insufficient_security"
        case .internalError: "internal_error"
        case .inappropriateFallback: "inappropriate_fallback"
        case .userCanceled: "user_canceled"
        case .noRenegotiation: "no_renegotiation"
        case .missingExtension: "missing_extension"
        case .unsupportedExtension: "unsupported_extension"
        case .unrecognizedName: "unrecognized_name"
        case .badCertificateStatusResponse: "bad_certificate_status_response"
        case .unknownPSKIdentity: "unknown_psk_identity"
        case .certificateRequired: "certificate_required"
        case .noApplicationProtocol: "no_application_protocol"
        case .other: "other"
        }
    }

    /// The alert as a record of its own, fatal and not encrypted.
    var record: [UInt8] { [21, 3, 3, 0, 2, 2, rawValue] }
}

/// The calling thread's queue of OpenSSL errors. A caller of OpenSSL empties it first, and reads it at once after a failure, before
/// anything else can run on the thread.
enum OpenSSLErrorQueue {
    static func clear() {
        ERR_clear_error()
    }

    /// The first error, which has caused the later ones; 0 without an error.
    static var first: UInt {
        ERR_peek_error()
    }

    /// The first error, unless only the last one is about TLS: a check of a certificate may leave others before it.
    static var cause: UInt {
        ERR_GET_LIB(first) != ERR_LIB_SSL && ERR_GET_LIB(last) == ERR_LIB_SSL ? last : first
    }

    /// The last error, which shows where a reader stopped; 0 without an error.
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
        case let problem where RevocationList.isMissing(problem): self = .revocationUnknown
        case X509_V_ERR_APPLICATION_VERIFICATION: self = .nameNotAllowed
        default: self = .certificateUntrusted
        }
    }
}
