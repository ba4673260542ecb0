import Testing

@testable import Proxy

@Suite("RedirectPolicy")
struct RedirectPolicyTests {
    private let base = TargetURL(origin: .http(host: "a", port: 9100), pathAndQuery: "/b/c/d;p?q")

    @Test("only the redirects of a GET count")
    func statuses() {
        let redirects = (100...599).filter(RedirectPolicy.isRedirect)
        #expect(redirects == [301, 302, 303, 307, 308])
    }

    // The examples of RFC 3986 §5.4, with an http base.
    @Test(
        "references resolve as in RFC 3986",
        arguments: [
            ("g", "/b/c/g"), ("./g", "/b/c/g"), ("g/", "/b/c/g/"), ("/g", "/g"), ("?y", "/b/c/d;p?y"), ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"), ("g?y#s", "/b/c/g?y"), (";x", "/b/c/;x"), ("g;x", "/b/c/g;x"), ("", "/b/c/d;p?q"), (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"), ("../", "/b/"), ("../g", "/b/g"), ("../..", "/"), ("../../", "/"), ("../../g", "/g"), ("../../../g", "/g"),
            ("../../../../g", "/g"), ("/./g", "/g"), ("/../g", "/g"), ("g.", "/b/c/g."), (".g", "/b/c/.g"), ("g..", "/b/c/g.."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"), ("./g/.", "/b/c/g/"), ("g/./h", "/b/c/g/h"), ("g/../h", "/b/c/h"), ("g;x=1/./y", "/b/c/g;x=1/y"),
            ("g;x=1/../y", "/b/c/y"), ("g?y/./x", "/b/c/g?y/./x"), ("g?y/../x", "/b/c/g?y/../x"), ("/a//b", "/a//b"), ("/a b", "/a%20b"),
            ("/é", "/%C3%A9"), ("/a%2Fb", "/a%2Fb"), ("/a:b", "/a:b"), ("http://a:9100/x", "/x"), ("HTTP://A:9100/x", "/x"),
        ])
    func resolves(reference: String, expected: String) throws {
        let url = try base.resolving(reference)
        #expect(url == TargetURL(origin: base.origin, pathAndQuery: expected))
    }

    @Test(
        "other origins",
        arguments: [
            ("//g", TargetURL.Origin.http(host: "g", port: 80), "/"), ("https://g", .https(host: "g", port: 443), "/"),
            ("https://G.Example:8443/x?y#z", .https(host: "g.example", port: 8443), "/x?y"),
            ("http://[::1]:9100/m", .http(host: "::1", port: 9100), "/m"),
            ("http://user:secret@h/", .http(host: "h", port: 80), "/"), ("http://h?x", .http(host: "h", port: 80), "/?x"),
            ("http://h:/x", .http(host: "h", port: 80), "/x"), ("http://h/a/../b", .http(host: "h", port: 80), "/b"),
        ] as [(String, TargetURL.Origin, String)])
    func otherOrigins(reference: String, origin: TargetURL.Origin, path: String) throws {
        #expect(try base.resolving(reference) == TargetURL(origin: origin, pathAndQuery: path))
    }

    @Test(
        "what is no http or https URL is refused",
        arguments: [
            "unix:/run/a.sock:/metrics", "file:///etc/passwd", "ftp://h/", "javascript:x", "data:,x", "http:g", "https:/g", "http://",
            "http://:80/",
            "http://h:0/", "http://h:65536/", "http://h:x/", "http://h:+80/", "http://[::1", "http://[g]/", "http://[]/", "http://a b/",
            "http://a_b%00/", "/a\u{1}b", "/a\tb", "//",
        ])
    func refused(reference: String) {
        #expect(throws: PollFailure.self) { try base.resolving(reference) }
    }

    @Test(
        "an IPv4 address in another notation than four decimal numbers is refused; names are not",
        arguments: ["127.1", "2130706433", "0x7f000001", "127.0.0.0x1", "0X7F.1", "127.0.0.1.", "017700000001", "1.2.3.256"])
    func otherNotations(host: String) throws {
        #expect(throws: PollFailure.invalidRedirect("its host is not an IPv4 address of four numbers")) {
            try base.resolving("http://\(host):9100/")
        }
        #expect(throws: TargetURL.Malformed.self) { try TargetURL.parse("http://\(host):9100/") }
        for name in ["127.0.0.1", "1a", "0xg", "1.example", "0x7f.example", "[::1]"] {
            #expect(try base.resolving("http://\(name):9100/").description == "http://\(name):9100/")
        }
    }

    @Test("from a Unix socket, paths and http://localhost stay on it; anything else leaves it")
    func unix() throws {
        let unix = TargetURL(origin: .unix(path: "/run/a.sock"), pathAndQuery: "/metrics")
        #expect(try unix.resolving("/m2") == TargetURL(origin: unix.origin, pathAndQuery: "/m2"))
        #expect(try unix.resolving("http://localhost/m2") == TargetURL(origin: unix.origin, pathAndQuery: "/m2"))
        #expect(try unix.resolving("http://localhost:8080/") == TargetURL(origin: .http(host: "localhost", port: 8080), pathAndQuery: "/"))
        #expect(try unix.resolving("https://localhost/") == TargetURL(origin: .https(host: "localhost", port: 443), pathAndQuery: "/"))
        #expect(try unix.resolving("//h/x") == TargetURL(origin: .http(host: "h", port: 80), pathAndQuery: "/x"))
    }

    @Test("ten redirects are followed, the eleventh is not")
    func limit() throws {
        var policy = RedirectPolicy(target: base)
        for number in 1...10 {
            let hop = try policy.follow("/\(number)")
            #expect(hop.url.pathAndQuery == "/\(number)")
        }
        #expect(throws: PollFailure.tooManyRedirects(limit: 10)) { try policy.follow("/11") }
    }

    @Test("trust stays within the origin, and does not come back")
    func trust() throws {
        var policy = RedirectPolicy(target: base)
        #expect(policy.current == .init(url: base, isTrusted: true))
        #expect(try policy.follow("/x").isTrusted)
        #expect(try policy.follow("http://a:9100/y").isTrusted)
        #expect(try !policy.follow("http://b:9100/").isTrusted)
        #expect(try !policy.follow("/within/b").isTrusted)
        #expect(try !policy.follow("http://a:9100/").isTrusted)
        #expect(try !policy.follow("/within/a").isTrusted)
        for other in ["https://a:9100/", "http://a:9101/", "http://a/"] {
            var policy = RedirectPolicy(target: base)
            #expect(try !policy.follow(other).isTrusted)
        }
    }

    @Test("a location of the longest length is followed, one past it is not")
    func length() throws {
        var policy = RedirectPolicy(target: base)
        _ = try policy.follow("/" + String(repeating: "a", count: RedirectPolicy.maxLocationLength - 1))
        #expect(throws: PollFailure.self) { try policy.follow("/" + String(repeating: "a", count: RedirectPolicy.maxLocationLength)) }
    }
}
