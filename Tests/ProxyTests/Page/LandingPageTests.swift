import Testing

@testable import Proxy

@Suite("Landing page")
struct LandingPageTests {
    private let side = ScrapeSide()

    private func links(_ page: Received) -> [String] {
        page.text.split(separator: "href=\"").dropFirst().compactMap { $0.split(separator: "\"").first.map(String.init) }
    }

    @Test("it links to every other route, and each link leads somewhere")
    func everyRoute() throws {
        side.metrics.isExposed = true
        let page = try side.send("GET", "/")
        #expect(page[header: "Content-Type"] == "text/html; charset=utf-8")
        let links = links(page)
        // Relative, for a server that serves this one below a path of its own.
        #expect(links == ["metrics", "metrics/self", "apps", "collisions", "sd", "-/healthy", "-/ready"])
        for link in links { #expect(try side.send("GET", "/\(link)").status == 200) }
    }

    @Test("it does not link to routes that the configuration turns off")
    func routesThatAreOff() throws {
        side.metrics.isExposed = false
        side.checker.setValidation(.off)
        #expect(links(try side.send("GET", "/")) == ["metrics", "apps", "sd", "-/healthy", "-/ready"])
    }

    @Test("it loads nothing, and lets nothing be put into it")
    func policy() throws {
        let page = try side.send("GET", "/")
        let policy = try #require(page[header: "Content-Security-Policy"])
        #expect(policy.hasPrefix("default-src 'none'; style-src 'sha256-"))
        #expect(policy.hasSuffix("'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"))
        for word in ["src=", "<script", "<link", "style=", "http:", "https:", "@import", "url("] { #expect(!page.text.contains(word)) }
    }
}
