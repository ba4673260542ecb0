import HTTP
import NIOCore

/// `/-/healthy`: 200 as long as the process answers at all.
struct HealthyRoute: Route {
    let path = "/-/healthy"
    let summary = "200 while the process answers"

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        .now(.text(200, "exporter-proxy is healthy", headers: [Response.neverStored]))
    }
}

/// `/-/ready`: 200 once a scrape shows all that it can, until a stop begins.
struct ReadyRoute: Route {
    let path = "/-/ready"
    let summary = "200 from the end of the first polls until a stop begins, else 503"

    let lifecycle: any Lifecycle

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        lifecycle.isReady
            ? .now(.text(200, "exporter-proxy is ready", headers: [Response.neverStored]))
            : .now(.text(503, "exporter-proxy is not ready: it is starting or stopping", headers: [Response.neverStored]))
    }
}
