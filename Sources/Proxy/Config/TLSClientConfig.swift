/// A target's `tls_config` table, with the keys of Prometheus's client configuration.
public struct TLSClientConfig: Equatable, Sendable {
    /// PEM file of certificate authorities; `nil` means the system's.
    public var caFile: String?
    /// PEM file: the client certificate, then its intermediates. Given together with `keyFile` or not at all.
    public var certFile: String?
    /// PEM file: the client certificate's private key.
    public var keyFile: String?
    /// The name to send and to verify in place of the URL's host.
    public var serverName: String?
    /// Whether any certificate is accepted (`allow_invalid_certs` sets it for all targets without their own table).
    public var insecureSkipVerify: Bool
    /// The lowest version accepted.
    public var minVersion: TLSVersion
    /// The highest version accepted; not below `minVersion`.
    public var maxVersion: TLSVersion
    /// In order of preference, by the names of Go or OpenSSL; those of one version leave the other's defaults as they are.
    public var cipherSuites: [String]
    /// In order of preference, by the names of Go or OpenSSL; empty takes the defaults.
    public var curvePreferences: [String]

    /// Settings; what is left out is at its default.
    public init(
        caFile: String? = nil, certFile: String? = nil, keyFile: String? = nil, serverName: String? = nil,
        insecureSkipVerify: Bool = false, minVersion: TLSVersion = .tls12, maxVersion: TLSVersion = .tls13,
        cipherSuites: [String] = [], curvePreferences: [String] = []
    ) {
        self.caFile = caFile
        self.certFile = certFile
        self.keyFile = keyFile
        self.serverName = serverName
        self.insecureSkipVerify = insecureSkipVerify
        self.minVersion = minVersion
        self.maxVersion = maxVersion
        self.cipherSuites = cipherSuites
        self.curvePreferences = curvePreferences
    }
}
