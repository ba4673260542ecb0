import HTTP
import NIOCore
import Testing

@testable import Proxy

@Suite("/metrics")
struct MetricsRouteTests {
    private let side = ScrapeSide()
    private let gzip = ["accept-encoding": "gzip"]

    @Test("every app's metrics come in order of name, byte for byte")
    func all() throws {
        try side.push([("b", "b{x=\"1\"} 1\n"), ("a", "a 1\r\n# not checked\n\n"), ("empty", ""), ("B", "B 1\n")])
        let received = try side.send("GET", "/metrics")
        #expect(received.status == 200)
        #expect(received.text == "B 1\na 1\r\n# not checked\n\nb{x=\"1\"} 1\n")
        #expect(received.contentLength == received.bytes.count)
        #expect(received[header: "Content-Encoding"] == nil)
    }

    @Test(
        "the type is text 0.0.4 whatever Accept says",
        arguments: [
            nil, "*/*", "application/json", "text/html",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.2",
        ])
    func contentType(accept: String?) throws {
        var headers = gzip
        headers["accept"] = accept
        for encoding in [nil, "gzip"] {
            headers["accept-encoding"] = encoding
            let received = try side.send("GET", "/metrics", headers: headers)
            #expect(received.status == 200)
            #expect(received[header: "Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(received[header: "Vary"] == "Accept-Encoding")
        }
    }

    @Test("another proxy's poll is answered, one's own is not")
    func polls() throws {
        try side.push([("a", "a 1\n")])
        #expect(try side.send("GET", "/metrics", headers: [Request.instanceField: "f00"]).text == "a 1\n")
        #expect(try side.send("GET", "/metrics", headers: [Request.instanceField: ProgramInstance.id]).status == 508)
    }

    @Test("without apps the answer is empty, and a success")
    func empty() throws {
        let received = try side.send("GET", "/metrics")
        #expect(received.status == 200)
        #expect(received.contentLength == 0)
        #expect(received.bytes.isEmpty)
    }

    @Test(
        "parameters other than app do not count",
        arguments: ["/metrics?", "/metrics?x=y", "/metrics?collect[]=cpu&App=b", "/metrics?name[]=b"])
    func otherParameters(target: String) throws {
        try side.push([("a", "a 1\n"), ("b", "b 1\n")])
        #expect(try side.send("GET", target).text == "a 1\nb 1\n")
    }

    @Test(
        "?app= gives the named apps alone, in order of name, each once",
        arguments: [
            ("app=b", "b 1\n"), ("app=c&app=a", "a 1\nc 1\n"), ("app=b&app=b", "b 1\n"), ("app=b&x=y&app=nobody&app=", "b 1\n"),
            ("app=%62", "b 1\n"), ("app=with+space", "s 1\n"), ("app=with%20space", "s 1\n"), ("app=gr%C3%B6%C3%9Fe", "g 1\n"),
            ("app=empty", ""),
        ])
    func selection(query: String, text: String) throws {
        try side.push([("a", "a 1\n"), ("b", "b 1\n"), ("c", "c 1\n"), ("with space", "s 1\n"), ("größe", "g 1\n"), ("empty", "")])
        let received = try side.send("GET", "/metrics?\(query)")
        #expect(received.status == 200)
        #expect(received.text == text)
        #expect(received.contentLength == text.utf8.count)
        #expect(received[header: "Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
        #expect(received[header: "Vary"] == "Accept-Encoding")
    }

    @Test(
        "?app= with no known name answers 404",
        arguments: ["app=nobody", "app=", "app", "app=A", "app=a%0A", "app=gro%CC%88%C3%9Fe", "app=nobody&app=no-one", "app=a*"])
    func unknownApp(query: String) throws {
        try side.push([("a", "a 1\n"), ("größe", "g 1\n")])
        let received = try side.send("GET", "/metrics?\(query)")
        #expect(received.status == 404)
        #expect(received[header: "Content-Type"] == "text/plain; charset=utf-8")
    }

    @Test("the 404 names what was asked for, safe to print")
    func unknownAppNamed() throws {
        #expect(try side.send("GET", "/metrics?app=x%1B%5B2J&app=y").text == "no app named x\\u{1B}[2J, y; /apps lists them\n")
    }

    @Test("?app= answers 503 while none of the known ones is fresh, and names the reason")
    func stale() throws {
        let target = try side.target(port: 1027)
        let query = "/metrics?app=external_poll:+127.0.0.1:1027"
        let early = try side.send("GET", query + "&app=nobody")
        #expect(early.status == 503)
        #expect(early.text == "no fresh metrics: external_poll: 127.0.0.1:1027 has not answered yet\n")

        side.store.record(.failure(reason: "connection refused"), for: target.url, at: side.now)
        #expect(try side.send("GET", query).status == 503)
        #expect(try side.send("GET", query).text == "no fresh metrics: external_poll: 127.0.0.1:1027 is failing: connection refused\n")

        side.store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "t 1\n"))), for: target.url, at: side.now)
        #expect(try side.send("GET", query).status == 200)
        #expect(try side.send("GET", query).text == "t 1\n")

        side.store.record(.failure(reason: "timed out"), for: target.url, at: side.now)
        #expect(try side.send("GET", query).status == 503)
    }

    @Test("one fresh app is enough: the last good metrics of a failing one come along, as they do without ?app=")
    func partlyStale() throws {
        let target = try side.target(port: 1027)
        side.store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "t 1\n"))), for: target.url, at: side.now)
        side.store.record(.failure(reason: "timed out"), for: target.url, at: side.now)
        try side.push([("z", "z 1\n")])
        let received = try side.send("GET", "/metrics?app=z&app=external_poll:+127.0.0.1:1027")
        #expect(received.status == 200)
        #expect(received.text == "t 1\nz 1\n")
        #expect(try side.send("GET", "/metrics").text == "t 1\nz 1\n")
    }

    @Test("what many pushes have changed is joined away from the event loop, once; a single app never waits for it")
    func manyChanges() throws {
        let text = String(repeating: "x 1\n", count: 75_000)
        try side.push((0..<20).map { ("app\($0)", text) })
        #expect(try side.send("GET", "/metrics?app=app7").text == text)
        #expect(side.offload.count == 0)
        #expect(try side.send("GET", "/metrics").contentLength == 20 * 300_000)
        #expect(side.offload.count == 1)
        try side.push([("app3", "y 1\n")])
        #expect(try side.send("GET", "/metrics").contentLength == 19 * 300_000 + 4)
        #expect(side.offload.count == 1)
    }
}
