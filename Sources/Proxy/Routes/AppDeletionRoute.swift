import HTTP
import NIOCore

/// `DELETE /apps/NAME`: forgets an app and its metrics; 204, or 404 when there is none of this name. 403 unless `enable_lifecycle`.
struct AppDeletionRoute: Route {
    let path = "/apps/NAME"
    let summary = "DELETE: forget an app, when enable_lifecycle is set"
    let methods: [Request.Method] = [.delete]

    let store: MetricStore
    let lifecycle: any Lifecycle

    /// Whoever may not delete is told nothing of names; for other methods the path is there when the app is.
    func serves(_ request: Request) -> Bool {
        guard let name = Self.name(in: request.path) else { return false }
        return request.method == .delete || store.app(named: name) != nil
    }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard lifecycle.isEnabled else {
            return .now(.text(403, "forbidden: enable_lifecycle in [exporter] is not set", headers: [Response.neverStored]))
        }
        guard let name = Self.name(in: request.path), store.remove(name) else {
            return .now(.text(404, "no app of this name; /apps lists them", headers: [Response.neverStored]))
        }
        return .now(Response(status: 204, body: [], contentLength: 0))
    }

    /// All that follows, slashes too: the path is decoded already.
    private static func name(in path: String) -> AppName? {
        let prefix = "/apps/"
        return path.hasPrefix(prefix) ? AppName(String(path.dropFirst(prefix.count))) : nil
    }
}
