import HTTP
import NIOCore

/// `/collisions`: series that are exposed more than once, as text or JSON; 404 when metrics are not checked.
struct CollisionsRoute: Route {
    let path = RoutePath.collisions
    let summary = "series that are exposed more than once, ?format=json for programs"

    let checker: MetricsChecker?

    var isOffered: Bool { checker.map { $0.validation != .off } ?? false }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard let checker, isOffered else {
            return .now(.text(404, "metrics are not checked (validate = \"off\" in [metrics])", headers: [Response.neverStored]))
        }
        guard let format = AppFormat(of: request, offering: [.text, .json]) else {
            return .now(.text(400, "unknown format: it is text or json", headers: [Response.neverStored]))
        }
        let document = checker.document
        let body = format == .json ? document.json : document.text(hasAppLabel: checker.hasAppLabel)
        return .now(Response(status: 200, headers: format.headers, body: body))
    }
}
