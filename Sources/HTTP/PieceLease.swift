import Synchronization

/// Says what a piece of a body costs while an answer keeps it, when several answers share that piece.
///
/// As long as the piece is stored anyway, answers that keep it cost nothing. Once it has been replaced, they are all that keeps it in
/// memory: then it counts, and it counts once, however many of them there are. Each method returns by how many bytes the count of
/// what is held changes; the caller adds them to the budget. Used from any thread.
public final class PieceLease: Sendable {
    private struct State {
        /// Answers that keep the piece.
        var holders = 0
        var isStored: Bool
        /// The size of the piece, as the first holder has told it.
        var bytes = 0

        var counted: Int { holders > 0 && !isStored ? bytes : 0 }
    }

    /// Guards who keeps the piece.
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

    /// The answer keeps the piece no longer.
    public func release() -> Int {
        change { state in
            assert(state.holders > 0, "released more often than held")
            state.holders -= 1
        }
    }

    /// The piece is stored no longer.
    public func retire() -> Int { change { $0.isStored = false } }

    /// Whether only answers keep the piece: then ending them gives its memory back.
    public var isRetired: Bool { state.withLock { !$0.isStored } }

    private func change(_ body: (inout State) -> Void) -> Int {
        state.withLock { state in
            let before = state.counted
            body(&state)
            return state.counted - before
        }
    }
}
