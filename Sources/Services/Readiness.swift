import Proxy
import Synchronization

/// Whether the daemon is ready, for `/-/ready`: the listeners are up, the first poll of each target has ended, and no stop has begun.
final class Readiness: Lifecycle {
    private struct State {
        var listening = false
        var stopping = false
    }

    private let state = Mutex(State())
    private let polled: @Sendable () -> Bool

    /// - Parameter polled: whether the first poll of each target has ended.
    init(polled: @escaping @Sendable () -> Bool) {
        self.polled = polled
    }

    var isReady: Bool {
        state.withLock { $0.listening && !$0.stopping } && polled()
    }

    func listenersAreUp() { state.withLock { $0.listening = true } }

    func stopBegins() { state.withLock { $0.stopping = true } }
}
