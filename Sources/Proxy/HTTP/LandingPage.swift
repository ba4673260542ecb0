import NIOCore

/// `/`: links to the other routes, for whoever opens the port in a browser.
struct LandingPage: Route {
    let path = "/"
    let summary = "this list as a page"

    private let page: Response

    init(linking routes: [any Route]) {
        // Paths and summaries are our own words: nothing in them needs escaping.
        let links = routes.map { "<li><a href=\"\($0.path)\">\($0.path)</a>: \($0.summary)</li>\n" }.joined()
        let html = """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <title>exporter-proxy</title>
            </head>
            <body>
            <h1>exporter-proxy</h1>
            <p>Every application's metrics through one port.</p>
            <ul>
            \(links)</ul>
            </body>
            </html>

            """
        page = Response(
            status: 200, contentType: "text/html; charset=utf-8",
            headers: [("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")],
            body: ByteBuffer(string: html))
    }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer { .now(page) }
}
