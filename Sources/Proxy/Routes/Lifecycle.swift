import HTTP

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
    /// Logs a request that has changed something, or tried to in vain. Called where the change happens, so that it is logged also when
    /// the connection is gone by then.
    func log(_ change: RequestedChange)
}

/// A request that has changed something, for the log.
public struct RequestedChange: Equatable, Sendable {
    /// Method and path.
    public var request: String
    /// The status of the answer.
    public var status: Int
    /// The other end of the connection, as the log shows it.
    public var peer: String

    /// The change that this request has made.
    init(_ request: Request, status: Int) {
        self.request = "\(request.method) \(request.path)"
        self.status = status
        peer = request.peer.description
    }

    /// An app that was deleted through a receiver.
    init(deleting app: AppName, by sender: Sender, status: Int = 204) {
        request = "DELETE \(RoutePath.appPrefix)\(app)"
        self.status = status
        peer = sender.description
    }
}

/// What came of a reload.
public enum ReloadResult: Equatable, Sendable {
    /// It runs, or nothing differed.
    case success(ReloadPlan)
    /// What ran before still runs; the reason in words, one line or more.
    case failure(reason: String)
}
