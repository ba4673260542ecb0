import Testing

@testable import Proxy

@Suite("Landing page")
struct LandingPageTests {
    private let side = ScrapeSide()

    @Test("it links to every other route, and each link leads somewhere")
    func links() throws {
        let page = try side.send("GET", "/")
        #expect(page[header: "Content-Type"] == "text/html; charset=utf-8")
        let links = page.text.split(separator: "href=\"").dropFirst().compactMap { $0.split(separator: "\"").first.map(String.init) }
        #expect(links == ["/metrics", "/apps", "/sd", "/-/healthy", "/-/ready"])
        for link in links { #expect(try side.send("GET", link).status == 200) }
    }

    @Test("it loads nothing, and lets nothing be put into it")
    func policy() throws {
        let page = try side.send("GET", "/")
        #expect(page[header: "Content-Security-Policy"]?.hasPrefix("default-src 'none'") == true)
        for word in ["src=", "<script", "<link", "<style", "style=", "http:", "https:"] { #expect(!page.text.contains(word)) }
    }
}
