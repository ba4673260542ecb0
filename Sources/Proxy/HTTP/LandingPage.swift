import NIOCore

/// `/`: links to the other routes, for whoever opens the port in a browser.
struct LandingPage: Route {
    let path = "/"
    let summary = "this list as a page"

    private let page: Response

    init(linking routes: [any Route]) {
        // Paths and summaries are our own words: nothing in them needs escaping.
        let links = routes.map { "<li><a href=\"\($0.path)\">\($0.path)</a><span>\($0.summary)</span></li>\n" }.joined()
        let html = """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <meta name="referrer" content="no-referrer">
            <title>exporter-proxy</title>
            <style>\(PageStyle.asset.text)</style>
            </head>
            <body>
            <header><h1>exporter-proxy</h1><p>Every application's metrics through one port.</p></header>
            <main><ul id="list">
            \(links)</ul></main>
            </body>
            </html>

            """
        page = Response(
            status: 200, contentType: "text/html; charset=utf-8",
            headers: [PageAsset.policy(style: PageStyle.asset, script: nil)],
            body: ByteBuffer(string: html))
    }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer { .now(page) }
}
