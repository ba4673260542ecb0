import NIOCore

/// Fired into a connection's pipeline: finish the exchange in flight, then close.
/// Every inner pipeline must heed it; at the deadline the connection is closed hard.
enum ConnectionDrainEvent: Sendable {
    /// The listener closes. A request that was sent just now may still be on its way, and who has just connected is about to send one:
    /// it is waited for, a little.
    case listenerCloses
    /// The rules of access have changed since the connection was made: it closes at once when there is no exchange.
    case accessChanged

    /// How long a connection without an exchange is kept for the first one.
    static let firstExchangePause = TimeAmount.seconds(1)
    /// How long a connection between two exchanges is kept: what the kernel holds is looked at first.
    static let nextExchangePause = TimeAmount.milliseconds(50)
}
