import HTTP

/// What the core needs from the shell.
public protocol Lifecycle: Sendable {
    /// Whether the listeners are up, the first poll of each target has ended, and no stop has begun.
    var isReady: Bool { get }
    /// Whether `enable_lifecycle` is set now.
    var isEnabled: Bool { get }
    /// The listeners and the last reload for `/apps`. Never waits.
    var status: DaemonStatus { get }

    /// Reads the configuration again and waits for the result.
    func reload() async -> ReloadResult
    /// Logs a request that has changed something or tried to. Called where the change happens, so that it is logged also if the connection
    /// has ended.
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

/// The result of a reload.
public enum ReloadResult: Equatable, Sendable {
    /// The new configuration runs, or nothing has changed.
    case success(ReloadPlan)
    /// The old configuration still runs. The reason has one line or more.
    case failure(reason: String)
}
