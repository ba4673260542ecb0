import HTTP
import NIOCore

/// `POST /-/reload`: reads the configuration again; 200 when it runs, 500 with the reason when it cannot, 403 unless `enable_lifecycle`.
struct ReloadRoute: Route {
    let path = "/-/reload"
    let summary = "POST: reload the configuration, when enable_lifecycle is set"
    let methods: [Request.Method] = [.post]

    let lifecycle: any Lifecycle

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard lifecycle.isEnabled else {
            return .now(.text(403, "forbidden: enable_lifecycle in [exporter] is not set", headers: [Response.neverStored]))
        }
        let promise = eventLoop.makePromise(of: Response.self)
        // The request waits for it, however long it takes; a client that leaves meanwhile stops nothing.
        Task { [lifecycle] in
            let result = await lifecycle.reload()
            promise.succeed(Self.response(to: result))
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
