import NIOCore
import Testing

@testable import HTTP

@Suite("Request parsing")
struct RequestParseTests {
    @Test("a path without a query is taken as it is", arguments: ["/metrics", "/", "/apps", "/-/healthy", "/nothing/here"])
    func plainPath(path: String) throws {
        let request = try parse(path)
        #expect(request.path == path)
        #expect(request.query.isEmpty)
    }

    @Test("path and query are percent-decoded")
    func percentDecoding() throws {
        let request = try parse("/%6detrics/a%20b+c?app=a%26b%3dc&na%6De=%E2%82%AC")
        #expect(request.path == "/metrics/a b+c")
        #expect(request.query == [item("app", "a&b=c"), item("name", "€")])
    }

    @Test("a plus in the query is a space, an encoded one a plus")
    func plus() throws {
        #expect(try parse("/metrics?a+b=c+d&e=%2B").query == [item("a b", "c d"), item("e", "+")])
    }

    @Test("a query may lack values, names and pairs; order and repetition stay")
    func oddQueries() throws {
        #expect(try parse("/?").query == [])
        #expect(try parse("/?&&").query == [])
        #expect(try parse("/?a").query == [item("a", "")])
        #expect(try parse("/?=a").query == [item("", "a")])
        #expect(try parse("/?a=b=c?d").query == [item("a", "b=c?d")])
        #expect(try parse("/?app=b&app=a&app=b").query == [item("app", "b"), item("app", "a"), item("app", "b")])
    }

    @Test("UTF-8 that was not encoded is taken too, as curl sends it")
    func rawUTF8() throws {
        #expect(try parse("/metrics?app=größe").query == [item("app", "größe")])
    }

    @Test(
        "what cannot be decoded is a bad request",
        arguments: [
            "/%", "/%4", "/%4x", "/%x4", "/metrics?app=%", "/metrics?%zz=1", "/%00", "/metrics?app=a%00b", "/metrics?%00", "/%ff",
            "/metrics?app=%C0%AF", "/metrics?app=%ED%A0%80", "/metrics?app=%E2%82", "/a b", "/a\tb", "/a\u{7F}", "/metrics#top",
            "", "metrics", "?app=a", "localhost:6555", "ftp://host/", "http:///metrics", "http://", "http://user@host/", "http:/x", "*",
        ])
    func badTargets(target: String) {
        #expect(throws: BadRequest.self) { try parse(target) }
    }

    @Test(
        "any name survives when each of its bytes is encoded, in capitals or not",
        arguments: ["a&b=c;d+e f", "größe/日本\u{10FFFF}", "%41", "\n\u{1}"])
    func roundTrip(name: String) throws {
        for isUppercase in [true, false] {
            let encoded = name.utf8.map { "%" + ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: isUppercase) }.joined()
            #expect(try parse("/\(encoded)?app=\(encoded)").query == [item("app", name)])
            #expect(try parse("/\(encoded)").path == "/" + name)
        }
    }

    @Test("an absolute target gives the path, and its authority wins over the Host header")
    func absoluteForm() throws {
        let request = try parse("http://proxy.example:6555/metrics?app=a", host: "other")
        #expect(request.path == "/metrics")
        #expect(request.query == [item("app", "a")])
        #expect(request.host == "proxy.example:6555")
        #expect(try parse("HTTPS://[::1]:6555").path == "/")
        #expect(try parse("HTTPS://[::1]:6555").host == "[::1]:6555")
        #expect(try parse("http://host?a=b").query == [item("a", "b")])
        #expect(try parse("http://host?a=b").path == "/")
    }

    @Test("an asterisk belongs to OPTIONS alone")
    func asterisk() throws {
        #expect(try parse("*", method: .other("OPTIONS")).path == "*")
        #expect(throws: BadRequest.self) { try parse("*", method: .get) }
    }

    @Test("headers and the kind of connection are carried along")
    func headers() throws {
        var head = RequestHead(method: .get, target: "/apps")
        head.host = "h:1"
        head.accept = "a/b"
        head.acceptEncoding = "gzip"
        head.authorization = "Basic x"
        head.origin = "http://h:1"
        head.fetchSite = "same-origin"
        head.instance = "f00"
        let peer = try Peer(address: SocketAddress(ipAddress: "127.0.0.1", port: 1))
        let request = try Request(head, isTLS: true, peer: peer)
        #expect(request.host == "h:1")
        #expect(request.accept == "a/b")
        #expect(request.acceptEncoding == "gzip")
        #expect(request.authorization == "Basic x")
        #expect(request.origin == "http://h:1")
        #expect(request.fetchSite == "same-origin")
        #expect(request.instance == "f00")
        #expect(request.isTLS)
        #expect(request.peer == peer)
    }

    @Test(
        "a Host that is more than host and port is a bad request",
        arguments: ["a b", "a/b", "u@h", "a\"", "a, b", "a\r\nX: y", "é", "a?b", "a#b", "a:b:c", "a:b", "::1", "[::1", "[::1]a", "a[b"])
    func badHost(host: String) {
        #expect(throws: BadRequest.self) { try parse("/sd", host: host) }
    }

    @Test(
        "Host may be a name, an address in brackets, with or without a port",
        arguments: ["localhost", "LOCALHOST:6555", "[fe80::1]:1", "[::1]", "10.0.0.1:80", "a:", ":80"])
    func goodHost(host: String) throws {
        #expect(try parse("/sd", host: host).host == host)
    }

    @Test("an empty Host says nothing")
    func missingHost() throws {
        #expect(try parse("/sd").host == nil)
        #expect(try parse("/sd", host: "").host == nil)
    }

    @Test("a bad request answers 400 with its reason")
    func answer() {
        let error = #expect(throws: BadRequest.self) { try parse("/%zz") }
        let response = error?.response
        #expect(response?.status == 400)
        let text = response.map { $0.body.map { String(buffer: $0) }.joined() }
        #expect(text == "bad request: a % in the request target is not followed by two hexadecimal digits\n")
    }

    private func parse(_ target: String, method: Request.Method = .get, host: String? = nil) throws -> Request {
        var head = RequestHead(method: method, target: target)
        head.host = host
        return try Request(head, isTLS: false, peer: .unknown)
    }

    private func item(_ name: String, _ value: String) -> Request.QueryItem { Request.QueryItem(name: name, value: value) }
}
