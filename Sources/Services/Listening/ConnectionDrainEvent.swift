import NIOCore

/// Fired into a connection's pipeline: finish the exchange in flight, then close.
/// Every inner pipeline must heed it; at the deadline the connection is closed hard.
enum ConnectionDrainEvent: Sendable {
    /// The listener closes. A request that was sent just now may still be on its way, and who has just connected is about to send one:
    /// it is waited for, a little.
    case listenerCloses
    /// The rules of access have changed since the connection was made: only what had come by then is answered.
    case accessChanged

    /// How long a connection without an exchange in flight is kept.
    /// - Parameter isNew: whether it has had none at all.
    func pause(isNew: Bool) -> TimeAmount {
        switch self {
        // Enough for what the kernel holds already to be read.
        case .accessChanged: .milliseconds(1)
        case .listenerCloses: isNew ? .seconds(1) : .milliseconds(50)
        }
    }
}
