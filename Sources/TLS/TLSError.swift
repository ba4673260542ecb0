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
