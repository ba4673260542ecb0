public import TLS

/// How the connections of a listener are carried.
public enum Transport: Sendable {
    /// Plain text only.
    case off
    /// TLS only.
    case required(TLSContext)
    /// TLS and plain text on one port, told apart by the first bytes.
    case optional(TLSContext)
}
