import HTTP
import NIOCore

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
