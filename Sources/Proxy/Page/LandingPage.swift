import HTTP
import NIOCore

/// `/`: links to the other routes, for a browser that opens the port.
struct LandingPage: Route {
    let path = RoutePath.landing
    let summary = "this list as a page"

    private let routes: [any Route]

    init(linking routes: [any Route]) { self.routes = routes }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        var html = HTMLWriter(capacity: 24_000)
        html.head(title: "exporter-proxy")
        html.raw("<header><h1>exporter-proxy</h1><p>Every application's metrics through one port.</p></header>\n<main><ul id=\"list\">\n")
        for route in routes where route.isOffered {
            html.raw("<li><a href=\"")
            // Relative, so that it also works behind a reverse proxy that serves this one below a path.
            html.text(String(route.path.rawValue.dropFirst()))
            html.raw("\">")
            html.text(route.path.rawValue)
            html.raw("</a><span>")
            html.text(route.summary)
            html.raw("</span></li>\n")
        }
        html.raw("</ul></main>\n</body>\n</html>\n")
        return .now(
            Response(
                status: 200, contentType: "text/html; charset=utf-8",
                headers: [PageAsset.policy(style: PageStyle.asset, script: nil)],
                body: html.buffer))
    }
}
