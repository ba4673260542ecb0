import HTTP
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import Proxy

/// The routes over a store, in memory: what a client would see, without a socket.
struct ScrapeSide {
    let store = MetricStore()
    let lifecycle = SwitchedLifecycle()
    let offload = InlineOffload()
    /// Not exposed unless a test says so.
    let metrics = SelfMetrics(version: "1.2.3", start: Timestamp(nanoseconds: 1_653_263_500_000_000_000)) { nil }
    /// Checks nothing by itself.
    let checker: MetricsChecker
    /// 2022-05-22 23:51:52.939898700 UTC.
    var now = Timestamp(nanoseconds: 1_653_263_512_939_898_700)

    init() {
        metrics.isExposed = false
        checker = MetricsChecker(store: store, metrics: metrics)
        checker.setValidation(.report)
    }

    func push(_ apps: [(String, String)], from listener: String = "127.0.0.1:6554", at time: Timestamp? = nil) throws {
        let push = Push(apps: try apps.map { (try #require(AppName($0.0)), Exposition(endingInNewline: ByteBuffer(string: $0.1))) })
        try store.apply(push, from: .push(listener: listener), at: time ?? now)
    }

    /// A target on a port of this host, named like it; registered, not yet answered.
    func target(port: UInt16) throws -> Target {
        let url = TargetURL(origin: .http(host: "127.0.0.1", port: port), pathAndQuery: "/metrics")
        let target = Target(url: url, name: try #require(AppName("external_poll: \(url.endpoint)")))
        store.register(target)
        return target
    }

    func send(_ method: String = "GET", _ target: String, headers: [String: String] = ["host": "localhost:6555"], isTLS: Bool = false)
        throws
        -> Received
    {
        let known: [Request.Method] = [.get, .head, .post, .put, .delete]
        let method = known.first { $0.description == method } ?? .other(method)
        var head = RequestHead(method: method, target: target)
        head.host = headers["host"]
        head.accept = headers["accept"]
        head.acceptEncoding = headers["accept-encoding"]
        head.authorization = headers["authorization"]
        head.instance = headers[Request.instanceField]
        let request = try Request(head, isTLS: isTLS, peer: .unknown)
        let now = now.moment
        let router = Router(store: store, lifecycle: lifecycle, metrics: metrics, offload: offload, checker: checker, clock: { now })
        let response =
            switch router.respond(to: request, on: EmbeddedEventLoop()) {
            case .now(let response): response
            case .later(let future): try future.wait()
            }
        return Received(response, method: request.method)
    }
}

/// A response as a client takes it in.
struct Received {
    var status: Int
    var headers: [(name: String, value: String)]
    var contentLength: Int
    var bytes: [UInt8]
    /// The pieces as they were handed over.
    var pieces: [ByteBuffer]

    init(_ response: Response, method: Request.Method = .get) {
        status = response.status
        headers = response.headers
        contentLength = response.contentLength
        pieces = response.pieces(answering: method)
        bytes = pieces.flatMap { Array($0.readableBytesView) }
    }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    subscript(header name: String) -> String? {
        let values = headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }
}

final class SwitchedLifecycle: Lifecycle {
    private let state = Atomic(true)
    private let enabled = Atomic(false)
    private let result = Mutex(ReloadResult.failure(reason: "nobody set a result"))

    var isEnabled: Bool {
        get { enabled.load(ordering: .relaxed) }
        set { enabled.store(newValue, ordering: .relaxed) }
    }

    private let logged = Mutex<[RequestedChange]>([])

    /// What was logged.
    var changes: [RequestedChange] { logged.withLock { $0 } }

    func log(_ change: RequestedChange) { logged.withLock { $0.append(change) } }

    func reload() async -> ReloadResult { result.withLock { $0 } }

    func reloads(with result: ReloadResult) { self.result.withLock { $0 = result } }
    private let shown = Mutex(DaemonStatus(startTime: Timestamp(nanoseconds: 1_653_177_600_000_000_000)))

    /// By default that of a program that started at 2022-05-22 00:00:00 UTC.
    var status: DaemonStatus {
        get { shown.withLock { $0 } }
        set { shown.withLock { $0 = newValue } }
    }

    var isReady: Bool {
        get { state.load(ordering: .relaxed) }
        set { state.store(newValue, ordering: .relaxed) }
    }
}

/// Does the work at once, and counts it.
final class InlineOffload: Offload {
    private let runs = Atomic(0)

    var count: Int { runs.load(ordering: .relaxed) }

    func run<Result: Sendable>(on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result) -> EventLoopFuture<Result> {
        runs.add(1, ordering: .relaxed)
        return eventLoop.makeSucceededFuture(work())
    }
}
