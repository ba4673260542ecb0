import Proxy

/// What a connection needs of one response's head.
struct FramedResponseHead: Equatable {
    /// Where the body ends (RFC 9112 §6.3).
    enum Framing: Equatable {
        case none
        case length(Int)
        case chunked
        /// With the connection.
        case untilEnd
    }

    /// What decides about the poll.
    var fields: PollResponseHead
    var framing: Framing
    /// Whether the peer lets the connection stay open.
    var keepsAlive: Bool

    /// Whether another head follows (RFC 9110 §15.2). After a change of protocol, for which nobody asked, nothing does.
    var isInformational: Bool { (100..<200).contains(fields.status) && fields.status != 101 }
}
