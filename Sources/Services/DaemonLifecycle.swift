import Logging
import Proxy
import Synchronization

/// What the routes may ask of the daemon. It is made before the daemon and the reloader, which tell it their states.
final class DaemonLifecycle: Lifecycle {
    private enum Phase {
        case starting, listening, stopping
    }

    private struct State {
        var phase = Phase.starting
        var isEnabled = false
        var listeners: [ShownListener] = []
        var reloader: Reloader?
    }

    private let state = Mutex(State())
    private let startTime: Timestamp
    private let reloads: ReloadMetrics
    private let logger: Logger?
    private let hasPolledAll: @Sendable () -> Bool

    /// - Parameters:
    ///   - startTime: of the program.
    ///   - reloads: how the last one went.
    ///   - logger: gets a line for each request that changes something.
    ///   - hasPolledAll: whether the first poll of each target has ended once.
    init(startTime: Timestamp, reloads: ReloadMetrics, logger: Logger? = nil, hasPolledAll: @escaping @Sendable () -> Bool) {
        self.startTime = startTime
        self.reloads = reloads
        self.logger = logger
        self.hasPolledAll = hasPolledAll
    }

    var isReady: Bool { state.withLock { $0.phase } == .listening && hasPolledAll() }

    var isEnabled: Bool { state.withLock { $0.isEnabled } }

    var status: DaemonStatus {
        let listeners = state.withLock { $0.listeners }
        // Each listener has a lock of its own: never take one within the other.
        return DaemonStatus(startTime: startTime, listeners: listeners.map(\.status), lastReload: reloads.now.last)
    }

    func reload() async -> ReloadResult {
        guard let reloader = state.withLock({ $0.reloader }) else { return .failure(reason: "exporter-proxy is starting") }
        return await reloader.reload(because: .request)
    }

    /// No line is left out, however many there are.
    func log(_ change: RequestedChange) {
        logger?.info(
            "change requested",
            metadata: [LogKey.request: "\(change.request)", LogKey.status: "\(change.status)", LogKey.peer: "\(change.peer)"])
    }

    /// `POST /-/reload` asks this reloader from now on.
    func setReloader(_ reloader: Reloader) { state.withLock { $0.reloader = reloader } }

    /// What is shown of the listeners from now on.
    func show(_ listeners: [ShownListener]) { state.withLock { $0.listeners = listeners } }

    /// Whether `POST /-/reload` and the like are allowed from now on.
    func setEnabled(_ isEnabled: Bool) { state.withLock { $0.isEnabled = isEnabled } }

    func listenersAreUp() { state.withLock { $0.phase = .listening } }

    func stopBegins() { state.withLock { $0.phase = .stopping } }
}
