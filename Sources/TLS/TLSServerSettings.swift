/// Settings of a server's TLS, all as bytes: building a context reads no file.
public struct TLSServerSettings: Sendable {
    /// PEM: the certificate, then its intermediates.
    public var certificateChain: [UInt8]
    /// PEM, unencrypted.
    public var privateKey: [UInt8]
    /// The lowest version that is accepted.
    public var minVersion: TLSProtocolVersion
    /// The highest version that is accepted.
    public var maxVersion: TLSProtocolVersion
    /// Offered by ALPN, in order of preference. Empty takes no part in ALPN. A client that offers ALPN but none of these is refused
    /// with the alert no_application_protocol, as RFC 7301 section 3.2 demands; one that does not use ALPN is welcome.
    public var applicationProtocols: [String]

    /// - Parameters:
    ///   - certificateChain: PEM: the certificate, then its intermediates.
    ///   - privateKey: PEM, unencrypted.
    public init(
        certificateChain: [UInt8], privateKey: [UInt8], minVersion: TLSProtocolVersion = .tls12, maxVersion: TLSProtocolVersion = .tls13,
        applicationProtocols: [String] = []
    ) {
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.minVersion = minVersion
        self.maxVersion = maxVersion
        self.applicationProtocols = applicationProtocols
    }
}
