import HTTP
import NIOCore

/// `/sd`: Prometheus HTTP service discovery, one target group per app, so that each app can be its own `instance`.
struct ServiceDiscoveryRoute: Route {
    let path = RoutePath.discovery
    let summary = "Prometheus HTTP service discovery, one target per app"

    /// A name of 255 bytes, brackets and a port.
    private static let maxHostLength = 264

    let lists: AppLists
    let clock: @Sendable () -> Moment

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        // Prometheus keeps the targets it had when discovery fails; a guessed address would replace them.
        guard let host = request.host else {
            return .now(
                .text(400, "bad request: /sd needs a Host header: the address of the targets", headers: [Response.neverStored]))
        }
        // It stands in the answer once for each app.
        guard host.utf8.count <= Self.maxHostLength else {
            return .now(.text(400, "bad request: the Host header is too long", headers: [Response.neverStored]))
        }
        let list = AppLists.List.discovery(host: host, scheme: request.isTLS ? "https" : "http")
        return lists.answer(request, with: list, at: clock(), on: eventLoop) { list in
            Response(
                status: 200,
                headers: [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"), Response.neverStored],
                body: list.body)
        }
    }
}

/// The document of `/sd`.
enum DiscoveryJSON {
    static func list(of entries: some Collection<AppEntry>, host: String, scheme: String) -> WrittenList {
        var list = WrittenList()
        var json = JSONWriter()
        json.raw("[")
        var isFirst = true
        for entry in entries {
            json.raw(isFirst ? "\n{\"targets\": [" : ",\n{\"targets\": [")
            isFirst = false
            json.string(host)
            json.raw("], \"labels\": {\"__scheme__\": ")
            json.string(scheme)
            json.raw(", \"__metrics_path__\": \"/metrics\", \"__param_app\": ")
            json.string(entry.name.description)
            json.raw(", \"app\": ")
            json.string(entry.name.description)
            json.raw("}}")
            list.take(&json.buffer)
        }
        json.raw(isFirst ? "]\n" : "\n]\n")
        list.take(&json.buffer, isLast: true)
        return list
    }
}
