import Synchronization

/// Counts the memory of a piece of a body that several answers share.
///
/// While the store keeps the piece, it does not count. When the store has replaced it, only answers keep it in memory: it then counts
/// once for all of them. Each method returns the change in bytes, which the caller adds to the budget. Any thread may use it.
public final class PieceLease: Sendable {
    private struct State {
        /// Answers that keep the piece.
        var holders = 0
        var isStored: Bool
        /// The size of the piece, from the first answer that kept it.
        var bytes = 0

        var counted: Int { holders > 0 && !isStored ? bytes : 0 }
    }

    /// Guards the counts of those that keep the piece.
    private let state: Mutex<State>

    /// - Parameter isStored: whether something else keeps the piece too, until `retire` is called.
    public init(isStored: Bool) { state = Mutex(State(isStored: isStored)) }

    /// An answer keeps the piece until it calls `release`.
    /// - Parameter bytes: the memory that the piece takes: its storage, which may be more than its readable bytes.
    public func hold(bytes: Int) -> Int {
        change { state in
            state.holders += 1
            state.bytes = bytes
        }
    }

    /// The answer no longer keeps the piece.
    public func release() -> Int {
        change { state in
            assert(state.holders > 0, "released more often than held")
            state.holders -= 1
        }
    }

    /// The store no longer keeps the piece.
    public func retire() -> Int { change { $0.isStored = false } }

    /// Whether only answers keep the piece, so that ending them frees its memory.
    public var isRetired: Bool { state.withLock { !$0.isStored } }

    private func change(_ body: (inout State) -> Void) -> Int {
        state.withLock { state in
            let before = state.counted
            body(&state)
            return state.counted - before
        }
    }
}
