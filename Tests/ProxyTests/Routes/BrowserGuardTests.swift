import HTTP
import NIOCore
import NIOEmbedded
import Testing

@testable import Proxy

@Suite("Requests that a browser is tricked into")
struct BrowserGuardTests {
    private struct Echo: Responder {
        func respond(to request: Request, on eventLoop: any EventLoop) -> Answer { .now(.text(200, "passed")) }
    }

    private func status(_ request: Request, allowedHosts: [String] = []) -> Int? {
        let guarded = BrowserGuard(allowedHosts: allowedHosts, routes: Echo())
        guard case .now(let response) = guarded.respond(to: request, on: EmbeddedEventLoop()) else { return nil }
        return response.status
    }

    @Test(
        "a change for a page of another site is refused, by either field",
        arguments: [
            (nil, nil, 200), ("same-origin", nil, 200), ("none", nil, 200), ("Same-Origin", nil, 200),
            ("cross-site", nil, 403), ("same-site", nil, 403), ("", nil, 403), ("same-origin, cross-site", nil, 403),
            (nil, "http://metrics.example:6555", 200), (nil, "HTTP://Metrics.Example:6555", 200),
            (nil, "https://metrics.example:6555", 403), (nil, "http://metrics.example", 403), (nil, "http://metrics.example:6556", 403),
            (nil, "http://other.example:6555", 403), (nil, "null", 403), (nil, "", 403), (nil, "http://", 403),
            ("same-origin", "http://other.example", 403), ("none", "http://metrics.example:6555", 200),
        ] as [(String?, String?, Int)])
    func foreign(fetchSite: String?, origin: String?, expected: Int) {
        for method in [Request.Method.post, .put, .delete] {
            let request = Request(
                method: method, path: "/-/reload", host: "metrics.example:6555", origin: origin, fetchSite: fetchSite)
            #expect(status(request) == expected, "\(method)")
        }
        for method in [Request.Method.get, .head] {
            let request = Request(method: method, path: "/metrics", host: "metrics.example:6555", origin: origin, fetchSite: fetchSite)
            #expect(status(request) == 200, "\(method)")
        }
    }

    @Test(
        "an origin without a port has that of its scheme",
        arguments: [
            ("http://h", "h:80", false, 200), ("http://h:80", "h", false, 200), ("https://h", "h:443", true, 200),
            ("https://h:443", "h", true, 200), ("https://h", "h:80", true, 403), ("http://h", "h", true, 403),
            ("http://[::1]:6555", "[::1]:6555", false, 200), ("http://[::2]:6555", "[::1]:6555", false, 403),
        ])
    func ports(origin: String, host: String, isTLS: Bool, expected: Int) {
        #expect(status(Request(method: .post, path: "/-/reload", host: host, isTLS: isTLS, origin: origin)) == expected)
        #expect(status(Request(method: .post, path: "/-/reload", host: nil, isTLS: isTLS, origin: origin)) == 403)
    }

    @Test(
        "with allowed_hosts any other Host is misdirected, whatever is asked for",
        arguments: [
            ("metrics.example", 200), ("metrics.example:6555", 200), ("Metrics.EXAMPLE:1", 200), ("metrics.example.", 200),
            ("10.0.0.1", 200), ("10.0.0.1:6555", 200), ("[::1]", 200), ("[::1]:6555", 200), ("[0:0:0:0:0:0:0:1]:6555", 200),
            ("evil.example", 421), ("metrics.example.evil.example", 421), ("evil.example:6555", 421), ("10.0.0.2", 421),
            ("[::2]:6555", 421),
            ("metrics.example:metrics.example@evil", 200), ("", 421), (nil, 421),
        ] as [(String?, Int)])
    func hosts(host: String?, expected: Int) {
        for method in [Request.Method.get, .post] {
            let request = Request(method: method, path: "/-/healthy", host: host)
            #expect(status(request, allowedHosts: ["metrics.example", "10.0.0.1", "::1"]) == expected)
            #expect(status(request) == 200)
        }
    }

    @Test("a reload of the configuration changes the names from the next request on")
    func changed() {
        let guarded = BrowserGuard(allowedHosts: [], routes: Echo())
        func status() -> Int? {
            guard case .now(let response) = guarded.respond(to: Request(path: "/", host: "h"), on: EmbeddedEventLoop()) else { return nil }
            return response.status
        }
        #expect(status() == 200)
        guarded.setAllowedHosts(["other"])
        #expect(status() == 421)
        guarded.setAllowedHosts([])
        #expect(status() == 200)
    }
}
