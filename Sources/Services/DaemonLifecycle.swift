import Proxy
import Synchronization

/// What the routes may ask of the daemon. It is there before the daemon and the reloader are, which register themselves.
final class DaemonLifecycle: Lifecycle {
    private struct State {
        var isListening = false
        var isStopping = false
        /// Whether it has been ready once: a target that a reload adds takes nothing back.
        var wasReady = false
        var isEnabled = false
        var listeners: [ShownListener] = []
        var lastReload: DaemonStatus.Reload?
        var reload: (@Sendable () async -> ReloadResult)?
    }

    private let state = Mutex(State())
    private let startTime: Timestamp
    private let polled: @Sendable () -> Bool

    /// - Parameters:
    ///   - startTime: of the program.
    ///   - polled: whether the first poll of each target has ended.
    init(startTime: Timestamp, polled: @escaping @Sendable () -> Bool) {
        self.startTime = startTime
        self.polled = polled
    }

    var isReady: Bool {
        let polled = polled()
        return state.withLock { state in
            guard state.isListening, !state.isStopping else { return false }
            if polled { state.wasReady = true }
            return state.wasReady
        }
    }

    var isEnabled: Bool { state.withLock { $0.isEnabled } }

    var status: DaemonStatus {
        let (listeners, lastReload) = state.withLock { ($0.listeners, $0.lastReload) }
        // Each listener has a lock of its own: never one within the other.
        return DaemonStatus(startTime: startTime, listeners: listeners.map(\.status), lastReload: lastReload)
    }

    func reload() async -> ReloadResult {
        guard let reload = state.withLock({ $0.reload }) else { return .failure(reason: "exporter-proxy is starting") }
        return await reload()
    }

    /// What `POST /-/reload` does from now on.
    func onReload(_ reload: @escaping @Sendable () async -> ReloadResult) { state.withLock { $0.reload = reload } }

    /// What is shown of the listeners from now on.
    func show(_ listeners: [ShownListener]) { state.withLock { $0.listeners = listeners } }

    /// Remembers how the last reload went.
    func reloadEnded(_ result: ReloadResult, at time: Timestamp) {
        var reload = DaemonStatus.Reload(time: time)
        if case .failure(let reason) = result { reload.error = reason }
        state.withLock { $0.lastReload = reload }
    }

    /// Whether `POST /-/reload` and the like are allowed from now on.
    func setEnabled(_ isEnabled: Bool) { state.withLock { $0.isEnabled = isEnabled } }

    /// Before the targets change: notes whether those there are have all been polled.
    func remembersReadiness() { _ = isReady }

    func listenersAreUp() { state.withLock { $0.isListening = true } }

    func stopBegins() { state.withLock { $0.isStopping = true } }
}
