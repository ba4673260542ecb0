/// Fired into a connection's pipeline: finish the exchange in flight, then close; close at once when there is none.
/// Every inner pipeline must heed it; at the deadline the connection is closed hard.
struct ConnectionDrainEvent: Sendable {}
