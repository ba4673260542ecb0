public import HTTP
public import NIOCore

/// Picks the route by its path: 404 without one, 405 for a method that it does not take (SPEC §5). Paths match exactly, `/metrics/` is another.
public struct Router: Responder {
    /// The paths of all routes, for those who count requests.
    static let paths = ["/metrics", "/apps", "/apps/NAME", "/sd", "/-/healthy", "/-/ready", "/-/reload", "/"]

    let routes: [any Route]
    private let notFound: Response

    /// - Parameters:
    ///   - metrics: what `/metrics` shows of the proxy itself.
    ///   - clock: the time at which the store is looked at, and that `/apps` shows.
    ///   - offload: where large work goes.
    public init(
        store: MetricStore, lifecycle: any Lifecycle, metrics: SelfMetrics, offload: any Offload, clock: @escaping @Sendable () -> Moment
    ) {
        // The most frequent first. A new route needs its file and a line here.
        let listed: [any Route] = [
            MetricsRoute(store: store, offload: offload, clock: clock, metrics: metrics),
            AppsRoute(store: store, lifecycle: lifecycle, offload: offload, clock: clock),
            ServiceDiscoveryRoute(store: store, offload: offload, clock: clock),
            HealthyRoute(),
            ReadyRoute(lifecycle: lifecycle),
            ReloadRoute(lifecycle: lifecycle),
            AppDeletionRoute(store: store, lifecycle: lifecycle),
        ]
        routes = listed + [LandingPage(linking: listed.filter { $0.methods.contains(.get) })]
        let paths = routes.map { "\($0.path)  \($0.summary)" }.joined(separator: "\n")
        notFound = .text(404, "nothing here; there is:\n\(paths)")
    }

    /// Answers `request`, HEAD like GET.
    public func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard let route = routes.first(where: { $0.serves(request) }) else { return .now(notFound) }
        guard route.methods.contains(request.method) else { return .now(methodNotAllowed(on: route)) }
        return route.respond(to: request, on: eventLoop)
    }

    private func methodNotAllowed(on route: any Route) -> Response {
        let methods = route.methods.map(\.description).joined(separator: ", ")
        return .text(405, "method not allowed: \(route.path) takes \(methods)", headers: [("Allow", methods)])
    }
}
