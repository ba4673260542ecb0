import Synchronization

/// How the loading of the configuration went: the one account of it, for the self-metrics and for `/apps`.
public final class ReloadMetrics: Sendable {
    /// The state after the last one.
    public struct State: Sendable {
        /// Reloads that took effect, the start not counted.
        public var successes = 0
        /// Reloads that left the configuration as it was.
        public var failures = 0
        /// When the configuration that runs was loaded.
        public var lastSuccess: Timestamp
        /// How the last reload went; `nil` before the first one.
        public var last: DaemonStatus.Reload?
    }

    private let state: Mutex<State>

    init(start: Timestamp) { state = Mutex(State(lastSuccess: start)) }

    /// The state now.
    public var now: State { state.withLock { $0 } }

    /// A reload has taken effect, or found nothing to change.
    public func succeeded(at time: Timestamp) {
        state.withLock { state in
            state.successes += 1
            state.lastSuccess = time
            state.last = DaemonStatus.Reload(time: time)
        }
    }

    /// A reload was refused.
    public func failed(_ reason: String, at time: Timestamp) {
        state.withLock { state in
            state.failures += 1
            state.last = DaemonStatus.Reload(time: time, error: reason)
        }
    }
}
