/// What a server asks of its clients' certificates: Go's `tls.ClientAuthType`, which Prometheus's configuration names.
/// Whoever presents a certificate always has to prove that its key is there too.
public enum ClientAuthentication: UInt8, Sendable, CaseIterable {
    /// Asks for none.
    case none
    /// Asks, and takes any certificate, or none.
    case request
    /// Insists on one, and takes any.
    case requireAny
    /// Asks; the one that comes must be good.
    case verifyIfGiven
    /// Insists on a good one.
    case requireAndVerify

    var asks: Bool { self != .none }
    var requires: Bool { self == .requireAny || self == .requireAndVerify }
    /// Whether chain, time and revocation count.
    public var verifies: Bool { self == .verifyIfGiven || self == .requireAndVerify }
}
