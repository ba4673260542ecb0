import HTTP
import NIOCore

/// What the routes need from the daemon.
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
    /// The old configuration stays in force. The reason has one line or more.
    case failure(reason: String)
}

/// `POST /-/reload`: reads the configuration again; 200 after a success, 500 with the reason after a failure, 403 unless
/// `enable_lifecycle`.
struct ReloadRoute: Route {
    let path = RoutePath.reload
    let summary = "POST: reload the configuration, when enable_lifecycle is set"
    let methods: [Request.Method] = [.post]

    let lifecycle: any Lifecycle

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard lifecycle.isEnabled else { return .now(.lifecycleDisabled) }
        let promise = eventLoop.makePromise(of: Response.self)
        // The request waits for the end of the reload. The reload goes on if the client leaves.
        Task { [lifecycle] in
            let response = Self.response(to: await lifecycle.reload())
            lifecycle.log(RequestedChange(request, status: response.status))
            promise.succeed(response)
        }
        return .later(promise.futureResult)
    }

    private static func response(to result: ReloadResult) -> Response {
        switch result {
        case .success(let plan):
            let restart = plan.needsRestart.map { "\($0) takes effect with the next start" }
            let lines = plan.changes + restart
            return .text(200, lines.isEmpty ? "nothing has changed" : lines.joined(separator: "\n"), headers: [Response.neverStored])
        case .failure(let reason):
            return .text(500, reason, headers: [Response.neverStored])
        }
    }
}

extension Response {
    /// The answer to a change that only `enable_lifecycle` allows.
    static let lifecycleDisabled = Response.text(
        403, "forbidden: enable_lifecycle in [exporter] is not set", headers: [Response.neverStored])
}
