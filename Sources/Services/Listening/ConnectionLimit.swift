import Synchronization

/// How many connections are open, and how many may be; one for each receiving listener, one for all scrape listeners together.
final class ConnectionLimit: Sendable {
    private struct State {
        var open = 0
        var limit: Int
        /// A listener that waits for room.
        var wake: (@Sendable () -> Void)?

        /// The listener to wake, once there is room again.
        mutating func takeWake() -> (@Sendable () -> Void)? {
            guard open < limit, let wake else { return nil }
            self.wake = nil
            return wake
        }
    }

    /// Guards the count, the limit and who waits.
    private let state: Mutex<State>

    /// - Parameter limit: at least one.
    init(_ limit: Int) {
        state = Mutex(State(limit: limit))
    }

    /// Connections open now.
    var open: Int { state.withLock { $0.open } }

    /// Applies from now on; connections beyond a lowered limit stay open.
    func set(_ limit: Int) {
        let wake = state.withLock { state in
            state.limit = limit
            return state.takeWake()
        }
        wake?()
    }

    /// How many more connections may be opened.
    /// - Parameter wake: called once as soon as there is room, when there is none now. At most one caller waits.
    func room(orWake wake: @escaping @Sendable () -> Void) -> Int {
        state.withLock { state in
            let room = state.limit - state.open
            if room <= 0 { state.wake = wake }
            return max(room, 0)
        }
    }

    /// Counts one more, whatever the limit says.
    func take() { state.withLock { $0.open += 1 } }

    /// Counts one more if the limit allows it.
    func takeIfAllowed() -> Bool {
        state.withLock { state in
            guard state.open < state.limit else { return false }
            state.open += 1
            return true
        }
    }

    /// One connection has ended.
    func release() {
        let wake = state.withLock { state in
            state.open -= 1
            return state.takeWake()
        }
        wake?()
    }
}
