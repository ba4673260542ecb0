import Proxy
public import TLS

/// How the connections of a listener are carried.
public enum Transport: Sendable {
    /// Plain text only.
    case off
    /// TLS only.
    case required(TLSContext)
    /// TLS and plain text on one port, told apart by the first bytes.
    case optional(TLSContext)

    /// `nil` without TLS.
    var context: TLSContext? {
        switch self {
        case .off: nil
        case .required(let context), .optional(let context): context
        }
    }
}

extension ListenerMetrics {
    /// Shows the dates of the certificates that are in force from now on.
    func show(_ transport: Transport) {
        setCertificate(notAfter: transport.context?.certificate?.notAfter, revocationsEnd: transport.context?.revocationsEnd)
    }
}
