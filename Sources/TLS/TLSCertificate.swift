/// What people want to know of a certificate.
public struct TLSCertificate: Equatable, Sendable {
    /// The subject as RFC 4514 writes it, such as `CN=exporter,O=Example`; empty when the certificate has none.
    public var subject: String
    /// The DNS names and IP addresses that the certificate is for (subjectAltName).
    public var names: [String]
    /// When it becomes valid, in seconds since 1970-01-01 UTC.
    public var notBefore: Int64
    /// When it expires, in seconds since 1970-01-01 UTC.
    public var notAfter: Int64

    /// - Parameters:
    ///   - notBefore: seconds since 1970-01-01 UTC.
    ///   - notAfter: seconds since 1970-01-01 UTC.
    public init(subject: String, names: [String], notBefore: Int64, notAfter: Int64) {
        self.subject = subject
        self.names = names
        self.notBefore = notBefore
        self.notAfter = notAfter
    }
}
