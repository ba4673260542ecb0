public import TLS

/// How the connections of a listener are carried.
public enum Transport: Sendable {
    /// Plain text only.
    case off
    /// TLS only.
    case required(TLSContext)
    /// TLS and plain text on one port, told apart by the first bytes.
    case optional(TLSContext)

    /// When the certificate that is shown expires, in seconds since 1970-01-01 UTC; `nil` without TLS.
    var certificateNotAfter: Int64? {
        switch self {
        case .off: nil
        case .required(let context), .optional(let context): context.certificate?.notAfter
        }
    }
}
