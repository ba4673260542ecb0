import HTTP
import NIOCore

/// `/sd`: Prometheus HTTP service discovery, one target group per app, so that each app can be its own `instance`.
struct ServiceDiscoveryRoute: Route {
    let path = "/sd"
    let summary = "Prometheus HTTP service discovery, one target per app"

    let store: MetricStore
    let offload: any Offload
    let clock: @Sendable () -> Moment

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        // Prometheus keeps the targets it had when discovery fails; a guessed address would replace them.
        guard let host = request.host else {
            return .now(
                .text(400, "bad request: the targets are named after the Host header, and there is none", headers: [Response.neverStored]))
        }
        let entries = store.snapshot(at: clock()).entries
        let scheme = request.isTLS ? "https" : "http"
        return offload.answer(on: eventLoop, isLarge: entries.count > OffloadThreshold.apps) {
            let body = ServiceDiscoveryRoute.groups(of: entries, host: host, scheme: scheme)
            return Response(status: 200, contentType: "application/json", headers: [Response.neverStored], body: body)
        }
    }

    private static func groups(of entries: some Collection<AppEntry>, host: String, scheme: String) -> ByteBuffer {
        var json = JSONWriter(capacity: 16 + 192 * entries.count)
        json.raw("[")
        for (index, entry) in entries.enumerated() {
            json.raw(index == 0 ? "\n" : ",\n")
            json.raw("{\"targets\": [")
            json.string(host)
            json.raw("], \"labels\": {\"__scheme__\": ")
            json.string(scheme)
            json.raw(", \"__metrics_path__\": \"/metrics\", \"__param_app\": ")
            json.string(entry.name.description)
            json.raw(", \"app\": ")
            json.string(entry.name.description)
            json.raw("}}")
        }
        json.raw(entries.isEmpty ? "]\n" : "\n]\n")
        return json.buffer
    }
}
