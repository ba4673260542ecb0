import Logging
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
        var reload: (@Sendable () async -> ReloadResult)?
    }

    private let state = Mutex(State())
    private let startTime: Timestamp
    private let reloads: ReloadMetrics
    private let logger: Logger?
    private let polled: @Sendable () -> Bool

    /// - Parameters:
    ///   - startTime: of the program.
    ///   - reloads: how the last one went.
    ///   - logger: gets a line for each request that changes something.
    ///   - polled: whether the first poll of each target has ended.
    init(startTime: Timestamp, reloads: ReloadMetrics, logger: Logger? = nil, polled: @escaping @Sendable () -> Bool) {
        self.startTime = startTime
        self.reloads = reloads
        self.logger = logger
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
        let listeners = state.withLock { $0.listeners }
        // Each listener has a lock of its own: never one within the other.
        return DaemonStatus(startTime: startTime, listeners: listeners.map(\.status), lastReload: reloads.now.last)
    }

    func reload() async -> ReloadResult {
        guard let reload = state.withLock({ $0.reload }) else { return .failure(reason: "exporter-proxy is starting") }
        return await reload()
    }

    /// No line is left out, however many there are.
    func log(_ change: RequestedChange) {
        logger?.info(
            "change requested",
            metadata: [LogKey.request: "\(change.request)", LogKey.status: "\(change.status)", LogKey.peer: "\(change.peer)"])
    }

    /// What `POST /-/reload` does from now on.
    func onReload(_ reload: @escaping @Sendable () async -> ReloadResult) { state.withLock { $0.reload = reload } }

    /// What is shown of the listeners from now on.
    func show(_ listeners: [ShownListener]) { state.withLock { $0.listeners = listeners } }

    /// Whether `POST /-/reload` and the like are allowed from now on.
    func setEnabled(_ isEnabled: Bool) { state.withLock { $0.isEnabled = isEnabled } }

    /// Before the targets change: notes whether those there are have all been polled.
    func remembersReadiness() { _ = isReady }

    func listenersAreUp() { state.withLock { $0.isListening = true } }

    func stopBegins() { state.withLock { $0.isStopping = true } }
}
