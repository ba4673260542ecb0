import Testing

@testable import Proxy

@Suite("URLs of Unix sockets")
struct TargetURLTests {
    @Test(
        "percent-encoding in the socket's path is undone; the rest stays as it is written",
        arguments: [
            ("unix:/run/a%20b.sock:/metrics", "/run/a b.sock", "/metrics"),
            ("unix:/run/a.sock:/m%20n?x=%25", "/run/a.sock", "/m%20n?x=%25"),
            ("unix:/run/a%2525.sock:", "/run/a%25.sock", "/"), ("unix:/run/%C3%A9.sock", "/run/é.sock", "/"),
            ("unix:/run/100%.sock:/m", "/run/100%.sock", "/m"), ("unix:/run/a%zz.sock", "/run/a%zz.sock", "/"),
            ("unix:/run/a?b.sock:/m", "/run/a?b.sock", "/m"), ("unix:/run/a%3Fb.sock", "/run/a?b.sock", "/"),
        ])
    func unix(text: String, path: String, target: String) throws {
        let url = try TargetURL.parse(text).url
        #expect(url == TargetURL(origin: .unix(path: path), pathAndQuery: target))
        #expect(url.endpoint == path)
        // What is shown reads as the same URL.
        #expect(try TargetURL.parse(url.description).url == url)
    }

    @Test(
        "what looks like a Unix socket in another notation is refused, with the right one",
        arguments: ["http://unix:/run/a.sock:/metrics", "https://UNIX:/run/a.sock", "unix:/run/a.sock?path=/metrics"])
    func refused(text: String) {
        let error = #expect(throws: TargetURL.Malformed.self) { try TargetURL.parse(text) }
        #expect(error?.reason.contains("unix:/run/app.sock:/metrics") == true)
    }

    @Test("a host named unix is one", arguments: ["http://unix/metrics", "http://unix:80/metrics"])
    func hostNamedUnix(text: String) throws {
        #expect(try TargetURL.parse(text).url.origin == .http(host: "unix", port: 80))
    }

    @Test("an IPv6 address without brackets is refused", arguments: ["http://::1/metrics", "https://fe80::1:9100/metrics"])
    func unbracketed(text: String) {
        let error = #expect(throws: TargetURL.Malformed.self) { try TargetURL.parse(text) }
        #expect(error?.reason == "write an IPv6 address in brackets")
    }

    @Test(
        "what would end a socket's path, or is not written in it, is percent-encoded again",
        arguments: ["/run/a%3A/b.sock", "/run/a%20b.sock", "/run/a%2520.sock", "/run/a:b.sock", "/run/a:"])
    func socketPaths(path: String) throws {
        let url = try TargetURL.parse("unix:\(path):/metrics").url
        #expect(url.description == "unix:\(path):/metrics")
        #expect(try TargetURL.parse(url.description).url == url)
    }

    @Test("a delimiter counts also where it makes one character with what stands beside it")
    func graphemes() throws {
        // U+06DD joins with what follows, U+0301 with what stands before it.
        let socket = try TargetURL.parse("unix:\u{6D5}\u{6DD}:/metrics").url
        #expect(socket.origin == .unix(path: "\u{6D5}\u{6DD}") && socket.pathAndQuery == "/metrics")
        #expect(try TargetURL.parse(socket.description).url == socket)
        for code in ["%20", "%25"] {
            let marked = try TargetURL.parse("unix:/run/a\(code)\u{301}.sock:/metrics").url
            #expect(marked.description == "unix:/run/a\(code)\u{301}.sock:/metrics")
        }
        #expect(try TargetURL.parse("http://user:pass\u{6DD}@host/").userInfo?.username == "user")
        #expect(throws: TargetURL.Malformed.self) { try TargetURL.parse("http://user:pass@\u{301}host/") }
        #expect(ValueText.withoutCredentials("http://user:pass@\u{301}host/") == "http://***@\u{301}host/")
        #expect(ValueText.withoutCredentials("user:pass\u{6DD}@host") == "***@host")
    }
}
