import NIOCore

/// `/apps`: who sent metrics, when, and how it went; as a text table or as JSON.
struct AppsRoute: Route {
    let path = "/apps"
    let summary = "the apps, their last updates and sources; ?format=json for programs"

    let store: MetricStore
    let offload: any Offload
    let clock: @Sendable () -> Timestamp

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard let format = format(for: request) else {
            return .now(.text(400, "unknown format: it is text or json", headers: [Response.neverStored]))
        }
        let entries = store.snapshot().entries
        let now = clock()
        return offload.answer(on: eventLoop, isLarge: entries.count > OffloadThreshold.apps) {
            let headers = [(name: "Vary", value: "Accept"), Response.neverStored]
            return switch format {
            case .text:
                Response(
                    status: 200, contentType: "text/plain; charset=utf-8", headers: headers, body: AppsTable.text(of: entries, at: now))
            case .json:
                Response(status: 200, contentType: "application/json", headers: headers, body: AppsJSON.text(of: entries, at: now))
            }
        }
    }

    private enum Format: String {
        case text, json
    }

    /// `?format=` is said on purpose and wins over `Accept`, which browsers fill in by themselves.
    private func format(for request: Request) -> Format? {
        if let named = request.query.first(where: { $0.name == "format" }) { return Format(rawValue: named.value) }
        return ContentNegotiation.preferred(of: [("text/plain", Format.text), ("application/json", .json)], accept: request.accept)
    }
}
