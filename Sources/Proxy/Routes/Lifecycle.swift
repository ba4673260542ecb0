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

    /// A deletion through a receiver.
    /// - Parameter path: of the request.
    init(deleting path: String, by sender: Sender, status: Int) {
        request = "\(Request.Method.delete) \(path)"
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

/// What `/apps` shows about the program itself: its listeners, its last reload, its start time.
public struct DaemonStatus: Equatable, Sendable {
    /// The present state of one listener.
    public struct Listener: Equatable, Sendable {
        /// What it is for.
        public enum Kind: String, Equatable, Sendable {
            case scrape, tcp, unix, http
        }

        /// Address or socket path.
        public var name: String
        /// What it is for.
        public var kind: Kind
        /// The format of a receiver; `nil` for a scrape listener and the HTTP receiver, whose requests name their format.
        public var format: PushFormat?
        /// `off`, `required` or `optional`.
        public var tls: String
        /// Open connections.
        public var openConnections: Int
        /// When its certificate expires; `nil` without TLS.
        public var certificateEnd: Timestamp?

        /// Makes a listener from its parts.
        public init(
            name: String, kind: Kind, format: PushFormat? = nil, tls: String = "off", openConnections: Int = 0,
            certificateEnd: Timestamp? = nil
        ) {
            self.name = name
            self.kind = kind
            self.format = format
            self.tls = tls
            self.openConnections = openConnections
            self.certificateEnd = certificateEnd
        }
    }

    /// The result of a reload.
    public struct Reload: Equatable, Sendable {
        /// When it ended.
        public var time: Timestamp
        /// The reason why it was refused; `nil` after a success. After a refusal the old configuration still runs.
        public var error: String?

        /// Makes a reload from its parts.
        public init(time: Timestamp, error: String? = nil) {
            self.time = time
            self.error = error
        }
    }

    /// The version of exporter-proxy.
    public var version: String
    /// When the program started.
    public var startTime: Timestamp
    /// The listeners, in the order of the configuration.
    public var listeners: [Listener]
    /// The last reload; `nil` before the first one.
    public var lastReload: Reload?

    /// Makes a status from its parts.
    public init(
        version: String = ProgramVersion.current, startTime: Timestamp, listeners: [Listener] = [], lastReload: Reload? = nil
    ) {
        self.version = version
        self.startTime = startTime
        self.listeners = listeners
        self.lastReload = lastReload
    }
}
