import NIOCore
import Testing

@testable import HTTP

@Suite("RequestDecoder")
struct RequestDecoderTests {
    /// All requests of a stream, and the error that ended it.
    private struct Parsed: Equatable {
        var heads: [RequestHead] = []
        var bodies: [String] = []
        var ends = 0
        var status: Int?
        var reason: String?
    }

    private func parse(_ text: String, cutAt cuts: [Int] = []) -> Parsed {
        let bytes = Array(text.utf8)
        var decoder = RequestDecoder(maxBody: 65536)
        var waiting = PendingBytes()
        var parsed = Parsed()
        var start = 0
        do throws(RequestError) {
            for end in cuts + [bytes.count] {
                waiting.append(ByteBuffer(bytes: bytes[start..<end]))
                start = end
                reading: while true {
                    switch try decoder.next(&waiting.bytes) {
                    case .incomplete: break reading
                    case .head(let head):
                        parsed.heads.append(head)
                        parsed.bodies.append("")
                    case .body(let piece): parsed.bodies[parsed.bodies.count - 1] += String(buffer: piece)
                    case .end: parsed.ends += 1
                    }
                }
            }
        } catch {
            parsed.status = error.status
            parsed.reason = error.reason
        }
        return parsed
    }

    private func head(_ text: String) throws -> RequestHead { try #require(parse(text).heads.first) }

    @Test("a request's head, with what routes ask for")
    func whole() throws {
        let head = try head(
            "GET /metrics?app=a HTTP/1.1\r\nHOST: h:1\r\naccept:  text/html \r\nAccept-Encoding: gzip\r\nAccept-Encoding: br\r\nX: y\r\n\r\n"
        )
        #expect(head.method == .get)
        #expect(head.target == "/metrics?app=a")
        #expect(!head.isHTTP10 && head.keepsAlive)
        #expect(head.framing == .none)
        #expect(head.host == "h:1")
        #expect(head.accept == "text/html")
        #expect(head.acceptEncoding == "gzip, br")
    }

    @Test("methods are told apart by case")
    func methods() throws {
        let methods: [(String, Request.Method)] = [
            ("GET", .get), ("HEAD", .head), ("POST", .post), ("PUT", .put), ("DELETE", .delete), ("get", .other("get")),
            ("PATCH", .other("PATCH")),
        ]
        for (name, method) in methods {
            let head = try head("\(name) / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(head.method == method && head.method.description == name)
        }
    }

    @Test("the fields that routes and receivers use")
    func fields() throws {
        let head = try head(
            "PUT / HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\nSec-Fetch-Site: cross-site\r\nContent-Type: text/plain\r\n"
                + "Content-Encoding: gzip\r\nAuthorization: Basic x\r\nX-Exporter-Proxy-Instance: f00\r\nExpect: 100-continue\r\n\r\n")
        #expect(head.origin == "http://h" && head.fetchSite == "cross-site")
        #expect(head.contentType == "text/plain" && head.contentEncoding == "gzip")
        #expect(head.authorization == "Basic x" && head.instance == "f00" && head.expectsContinue)
    }

    @Test(
        "whether the connection stays open",
        arguments: [
            ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false), ("HTTP/1.1", "Connection: Keep-Alive, CLOSE\r\n", false),
            ("HTTP/1.0", "", false), ("HTTP/1.0", "Connection: keep-alive\r\n", true), ("HTTP/1.1", "Connection: x\r\n", true),
            ("HTTP/1.0", "Connection: keep-alive, close\r\n", false), ("HTTP/1.0", "Connection: close, keep-alive\r\n", false),
            ("HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ])
    func keepAlive(version: String, header: String, expected: Bool) throws {
        #expect(try head("GET / \(version)\r\nHost: h\r\n\(header)\r\n").keepsAlive == expected)
    }

    @Test("empty lines before a request are passed over, lines may end in a bare LF")
    func lenient() {
        let parsed = parse("\r\n\nGET / HTTP/1.1\nHost: h\n\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(parsed.heads.count == 2 && parsed.ends == 2 && parsed.status == nil)
    }

    @Test("bodies are handed on, however they are framed")
    func bodies() {
        let parsed = parse(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                + "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
                + "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        #expect(parsed.status == nil)
        #expect(parsed.ends == 3)
        #expect(parsed.heads.map(\.framing) == [.length(3), .chunked, .none])
        #expect(parsed.bodies == ["abc", "abc0123456789", ""])
    }

    @Test(
        "what could be understood in two ways is refused",
        arguments: [
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r3\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \rchunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400), ("GET / HTTP/1.1\r\n: x\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400), ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400), ("GET /\r\n\r\n", 400),
            ("G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400), ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505), ("GET / HTTP/1\r\nHost: h\r\n\r\n", 400),
            ("GET / FTP/1.1\r\nHost: h\r\n\r\n", 400), ("{", 400), ("\0\0\0\0\u{5}", 400), ("\u{16}\u{3}\u{1}\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5 x\r\nabcde\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\nabcde\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nabcde\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\nabcde\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\rb\r\nabcde\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n", 400),
        ])
    func refused(text: String, status: Int) {
        let parsed = parse(text)
        #expect(parsed.status == status, "\(parsed.reason ?? "taken")")
        #expect(parsed.ends == 0)
        for cut in 0...text.utf8.count { #expect(parse(text, cutAt: [cut]).status == status) }
    }

    @Test("100 headers are taken, 101 refused")
    func headers() {
        func request(_ count: Int) -> String {
            "GET / HTTP/1.1\r\nHost: h\r\n" + (1..<count).map { "H\($0): v\r\n" }.joined() + "\r\n"
        }
        #expect(parse(request(100)).ends == 1)
        #expect(parse(request(101)).status == 431)
    }

    @Test("a request line of 8 KiB is taken, a byte more refused, also before its end has come")
    func requestLine() {
        func line(_ length: Int) -> String { "GET /\(String(repeating: "a", count: length - 14)) HTTP/1.1" }
        #expect(line(8192).utf8.count == 8192)
        #expect(parse(line(8192) + "\r\nHost: h\r\n\r\n").ends == 1)
        #expect(parse(line(8193) + "\r\nHost: h\r\n\r\n").status == 414)
        #expect(parse("GET /" + String(repeating: "a", count: 9000)).status == 414)
    }

    @Test("a head of 16 KiB is taken, a byte more refused, also before its end has come")
    func headSize() {
        func request(_ size: Int) -> String {
            let start = "GET / HTTP/1.1\r\nHost: h\r\nA: "
            return start + String(repeating: "a", count: size - start.utf8.count - 4) + "\r\n\r\n"
        }
        #expect(parse(request(16384)).ends == 1)
        #expect(parse(request(16385)).status == 431)
        #expect(parse(String(request(30_000).dropLast(4))).status == 431)
        // Without its end, a head of 16 KiB would become longer.
        func unfinished(_ size: Int) -> String { String(request(size + 4).dropLast("\r\n\r\n".count)) }
        #expect(unfinished(16384).utf8.count == 16384)
        #expect(parse(unfinished(16384)).status == 431)
        #expect(parse(unfinished(16383)).status == nil)
    }

    @Test("a body up to the limit is read, a byte more refused as soon as it is announced")
    func bodySize() {
        func plain(_ size: Int) -> String {
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \(size)\r\n\r\n" + String(repeating: "b", count: size)
        }
        func chunked(_ size: Int) -> String {
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "\(String(size, radix: 16))\r\n\(String(repeating: "b", count: size))\r\n0\r\n\r\n"
        }
        for request in [plain, chunked] {
            #expect(parse(request(65536)).ends == 1)
            #expect(parse(request(65537)).status == 413)
            #expect(parse(String(request(65537).prefix(90))).status == 413)
        }
    }

    @Test("what is consumed takes no memory, however often a byte is left", arguments: [1, 4096])
    func flatMemory(left: Int) throws {
        let rest = "ET /\(String(repeating: "a", count: left)) HTTP/1.1\r\nHost: h\r\n\r\n"
        var decoder = RequestDecoder(maxBody: 0)
        var waiting = PendingBytes()
        waiting.append(ByteBuffer(string: "G"))
        var most = 0
        for count in 0..<1000 {
            waiting.append(ByteBuffer(string: rest + "G"))
            guard case .head = try decoder.next(&waiting.bytes), try decoder.next(&waiting.bytes) == .end,
                try decoder.next(&waiting.bytes) == .incomplete
            else {
                Issue.record("no request after \(count)")
                return
            }
            most = max(most, waiting.held)
        }
        #expect(waiting.bytes.readableBytes == 1)
        #expect(most <= 4 * (left + 128), "\(most)")
    }

    @Test("any stream gives the same requests however it is cut")
    func cuts() {
        let stream =
            "\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\nHost: h\nContent-Length: 4\n\n\r\n\r\n"
            + "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: v\r\n\r\nHEAD / HTTP/1.0\r\n\r\n"
        let whole = parse(stream)
        #expect(whole.heads.map(\.target) == ["/a", "/b", "/c", "/"])
        #expect(whole.ends == 4)
        #expect(whole.bodies == ["", "\r\n\r\n", "ab", ""])
        for cut in 0...stream.utf8.count { #expect(parse(stream, cutAt: [cut]) == whole, "cut at \(cut)") }
        #expect(parse(stream, cutAt: Array(0...stream.utf8.count)) == whole)
    }
}
