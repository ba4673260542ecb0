public import HTTP
public import NIOCore

/// One path and what it answers.
protocol Route: Sendable {
    /// Where it stands in the documents and the metrics.
    var path: RoutePath { get }
    /// What is there, in a few words: for the landing page and the answer to an unknown path.
    var summary: String { get }
    /// The methods it takes; others get 405. A route that takes GET takes HEAD and answers it alike: the body is dropped later.
    var methods: [Request.Method] { get }
    /// Whether it has something to show with the present configuration. If not, the landing page does not link to it.
    var isOffered: Bool { get }

    /// Whether the request's path is this route's, whatever its method.
    func serves(_ request: Request) -> Bool
    /// Never blocks; called for `methods` alone.
    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer
}

extension Route {
    var methods: [Request.Method] { readingMethods }
    var isOffered: Bool { true }

    func serves(_ request: Request) -> Bool { path.rawValue == request.path }
}

private let readingMethods: [Request.Method] = [.get, .head]

/// The paths of the scrape side: the values of the label `path`, by which requests are counted.
public enum RoutePath: String, CaseIterable, Sendable {
    case metrics = "/metrics"
    case selfMetrics = "/metrics/self"
    case apps = "/apps"
    /// One app, whatever its name is.
    case app = "/apps/NAME"
    case collisions = "/collisions"
    case discovery = "/sd"
    case healthy = "/-/healthy"
    case ready = "/-/ready"
    case reload = "/-/reload"
    case landing = "/"
    /// An unknown path, or a request that could not be read.
    case other

    /// The beginning of the path of every app.
    static let appPrefix = "/apps/"

    /// The route that serves this path.
    init(serving path: String?) {
        guard let path else {
            self = .other
            return
        }
        self = RoutePath(rawValue: path) ?? (AppRoute.name(in: path) == nil ? .other : .app)
    }
}

/// Picks the route by its path: 404 without one, 405 for a method that it does not take. Paths match exactly: `/metrics/` is another path.
public struct Router: Responder {
    let routes: [any Route]
    private let notFound: Response

    /// - Parameters:
    ///   - metrics: what `/metrics` shows of the proxy itself.
    ///   - offload: where the long work of scrapes goes.
    ///   - pageOffload: where pages and lists of many apps are written; a thread of its own, so that scrapes never wait behind them.
    ///     Without it `offload` takes that work too.
    ///   - checker: what checks of metrics have found; `nil` where nothing is checked.
    ///   - clock: the moment at which the store is looked at, and that `/apps` shows.
    public init(
        store: MetricStore, lifecycle: any Lifecycle, metrics: SelfMetrics, offload: any Offload, pageOffload: (any Offload)? = nil,
        checker: MetricsChecker? = nil, clock: @escaping @Sendable () -> Moment
    ) {
        let snapshots = SnapshotSource(store: store, offload: offload)
        let lists = AppLists(snapshots: snapshots, queue: PageQueue(offload: pageOffload ?? offload))
        // The most frequent first. A new route needs its type and a line here.
        let listed: [any Route] = [
            MetricsRoute(store: store, snapshots: snapshots, offload: offload, clock: clock, metrics: metrics),
            SelfMetricsRoute(store: store, snapshots: snapshots, offload: offload, clock: clock, metrics: metrics),
            AppsRoute(lists: lists, lifecycle: lifecycle, checker: checker, clock: clock),
            AppRoute(store: store, lifecycle: lifecycle, clock: clock),
            CollisionsRoute(checker: checker),
            ServiceDiscoveryRoute(lists: lists, clock: clock),
            HealthyRoute(),
            ReadyRoute(lifecycle: lifecycle),
            ReloadRoute(lifecycle: lifecycle),
        ]
        routes = listed + [LandingPage(linking: listed.filter { $0.methods.contains(.get) && $0.path != .app })]
        let paths = routes.map { "\($0.path.rawValue)  \($0.summary)" }.joined(separator: "\n")
        notFound = .text(404, "nothing here; there is:\n\(paths)")
    }

    /// Answers `request`, HEAD like GET.
    public func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        // This proxy polls itself, under a name that its configuration could not recognise. An answer would contain the one before it.
        if request.instance == ProgramInstance.id { return .now(.text(508, "this is the scrape address of the proxy that polls it")) }
        guard let route = routes.first(where: { $0.serves(request) }) else { return .now(notFound) }
        guard route.methods.contains(request.method) else { return .now(methodNotAllowed(request.method, on: route)) }
        return route.respond(to: request, on: eventLoop)
    }

    private func methodNotAllowed(_ method: Request.Method, on route: any Route) -> Response {
        let methods = route.methods.map(\.description).joined(separator: ", ")
        let isPush = (method == .put || method == .post) && (route.path == .app || route.path == .apps)
        let hint = isPush ? "; this port takes no pushes, receiver_http_socket does" : ""
        return .text(405, "method not allowed: \(route.path.rawValue) takes \(methods)\(hint)", headers: [("Allow", methods)])
    }
}

/// `/-/healthy`: 200 as long as the process answers at all.
struct HealthyRoute: Route {
    let path = RoutePath.healthy
    let summary = "200 while the process answers"

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        .now(Self.response)
    }

    static let response = Response.text(200, "exporter-proxy is healthy", headers: [Response.neverStored])
}

/// `/-/ready`: 200 once a scrape shows all that it can, until a stop begins.
struct ReadyRoute: Route {
    let path = RoutePath.ready
    let summary = "200 from the end of the first polls until a stop begins, else 503"

    let lifecycle: any Lifecycle

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        .now(response)
    }

    var response: Response {
        lifecycle.isReady
            ? .text(200, "exporter-proxy is ready", headers: [Response.neverStored])
            : .text(503, "exporter-proxy is not ready: it is starting or stopping", headers: [Response.neverStored])
    }
}
