/// What client and server agreed on in a handshake.
public struct TLSNegotiation: Equatable, Sendable {
    /// The version of TLS.
    public var version: TLSProtocolVersion
    /// The cipher suite by its IANA name, such as `TLS_AES_128_GCM_SHA256`.
    public var cipherSuite: String
    /// The protocol that ALPN chose, if it was used.
    public var applicationProtocol: String?
    /// Whether the keys of an earlier connection were taken up again.
    public var isResumed: Bool
}
