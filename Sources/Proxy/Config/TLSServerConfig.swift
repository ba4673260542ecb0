/// A `tls_server_config` table, with the keys of the Prometheus exporter-toolkit web configuration.
public struct TLSServerConfig: Equatable, Sendable {
    /// PEM file: the certificate, then its intermediates.
    public var certFile: String
    /// PEM file: the certificate's private key.
    public var keyFile: String
    /// The lowest version accepted.
    public var minVersion: TLSVersion
    /// The highest version accepted; not below `minVersion`.
    public var maxVersion: TLSVersion

    /// Settings; what is left out is at its default.
    public init(certFile: String, keyFile: String, minVersion: TLSVersion = .tls12, maxVersion: TLSVersion = .tls13) {
        self.certFile = certFile
        self.keyFile = keyFile
        self.minVersion = minVersion
        self.maxVersion = maxVersion
    }
}

/// The protocol versions that exporter-proxy speaks, named as in Prometheus's configuration.
public enum TLSVersion: String, Equatable, Sendable, Comparable, CaseIterable {
    case tls12 = "TLS12"
    case tls13 = "TLS13"

    /// Whether `a` is the older version.
    public static func < (a: TLSVersion, b: TLSVersion) -> Bool { a == .tls12 && b == .tls13 }
}
