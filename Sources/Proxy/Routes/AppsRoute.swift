import HTTP
import NIOCore

/// `/apps`: who sent metrics, when, and how it went; as a text table, as JSON, or as a page for browsers.
struct AppsRoute: Route {
    let path = "/apps"
    let summary = "the apps, their last updates and sources; a page for browsers, ?format=json for programs"

    let store: MetricStore
    let lifecycle: any Lifecycle
    let offload: any Offload
    let clock: @Sendable () -> Moment

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard let format = format(for: request) else {
            return .now(.text(400, "unknown format: it is text, json or html", headers: [Response.neverStored]))
        }
        let now = clock()
        let entries = store.snapshot(at: now).entries
        let (status, isReady) = (lifecycle.status, lifecycle.isReady)
        return offload.answer(on: eventLoop, isLarge: entries.count > OffloadThreshold.apps) {
            let headers = [(name: "Vary", value: "Accept"), Response.neverStored]
            return switch format {
            case .text:
                Response(
                    status: 200, contentType: "text/plain; charset=utf-8", headers: headers, body: AppsTable.text(of: entries, at: now.time)
                )
            case .json:
                Response(
                    status: 200, contentType: "application/json", headers: headers,
                    body: AppsJSON.text(of: entries, status: status, isReady: isReady, at: now.time))
            case .html:
                Response(
                    status: 200, contentType: "text/html; charset=utf-8", headers: headers + [AppsPage.policy],
                    body: AppsPage(status: status, isReady: isReady, view: AppsView(query: request.query), now: now.time).html(of: entries))
            }
        }
    }

    private enum Format: String {
        case text, json, html
    }

    /// `?format=` is said on purpose and wins over `Accept`, which browsers fill in by themselves.
    private func format(for request: Request) -> Format? {
        if let named = request.query.first(where: { $0.name == "format" }) { return Format(rawValue: named.value) }
        let offered: [(String, Format)] = [("text/plain", .text), ("application/json", .json), ("text/html", .html)]
        return ContentNegotiation.preferred(of: offered, accept: request.accept)
    }
}
