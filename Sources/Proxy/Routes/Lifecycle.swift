/// What the core may ask of the shell.
public protocol Lifecycle: Sendable {
    /// Whether the listeners are up, the first poll of each target has ended, and no stop has begun.
    var isReady: Bool { get }
    /// Whether `enable_lifecycle` is set now.
    var isEnabled: Bool { get }
    /// What people are shown of listeners and reloads, as they are now; never waits.
    var status: DaemonStatus { get }

    /// Reads the configuration again and waits for what comes of it.
    func reload() async -> ReloadResult
}

/// What came of a reload.
public enum ReloadResult: Equatable, Sendable {
    /// It runs, or nothing differed.
    case success(ReloadPlan)
    /// What ran before still runs; the reason in words, one line or more.
    case failure(reason: String)
}
