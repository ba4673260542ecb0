import NIOCore
import Testing

@testable import HTTP

@Suite("ResponseDecoder")
struct ResponseDecoderTests {
    /// All that came out of a stream, the pieces of the body joined, and the failure that ended it.
    private struct Parsed: Equatable {
        var heads: [ResponseHead] = []
        var body = ""
        var isEnded = false
        var left = 0
        var failure: ResponseError?
    }

    private func parse(_ text: String, pieceLength: Int = .max) -> Parsed {
        var rest = Array(text.utf8)[...]
        var decoder = ResponseDecoder()
        var waiting = PendingBytes()
        var parsed = Parsed()
        do throws(ResponseError) {
            while !rest.isEmpty, !parsed.isEnded {
                waiting.append(ByteBuffer(bytes: rest.prefix(pieceLength)))
                rest = rest.dropFirst(pieceLength)
                reading: while true {
                    switch try decoder.next(&waiting.bytes) {
                    case .incomplete: break reading
                    case .head(let head): parsed.heads.append(head)
                    case .body(let piece): parsed.body += String(buffer: piece)
                    case .end:
                        parsed.isEnded = true
                        break reading
                    }
                }
            }
        } catch {
            parsed.failure = error
        }
        parsed.left = waiting.bytes.readableBytes + rest.count
        return parsed
    }

    private func head(_ text: String) throws -> ResponseHead { try #require(parse(text).heads.first) }

    @Test("a head, with what decides about the poll")
    func wholeHead() throws {
        let head = try head(
            "HTTP/1.1 200 OK\r\nCONTENT-TYPE: text/plain; version=0.0.4 \r\ncontent-length:\t5\r\nContent-Encoding: gzip\r\nX: y\r\n\r\n")
        #expect(head.status == 200 && head.reason == "OK")
        #expect(head.contentType == "text/plain; version=0.0.4" && head.contentEncoding == "gzip")
        #expect(head.transferEncoding == nil && head.location == nil && head.instances == nil)
        #expect(head.framing == .length(5) && head.keepsAlive)
        #expect(try self.head("HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n\r\n").location == "/a")
        // Fields of one name are one list (RFC 9110 §5.3).
        let repeated = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(try self.head(repeated).transferEncoding == "gzip, chunked")
    }

    @Test("the words after the status: the server's own, else the usual ones, never many")
    func reason() throws {
        #expect(try head("HTTP/1.1 503 warming up\r\n\r\n").reason == "warming up")
        #expect(try head("HTTP/1.1 503\r\n\r\n").reason == "Service Unavailable")
        #expect(try head("HTTP/1.1 503 \r\n\r\n").reason == "Service Unavailable")
        #expect(try head("HTTP/1.1 503 \(String(repeating: "x", count: 1000))\r\n\r\n").reason.utf8.count == 64)
    }

    @Test(
        "where the body ends",
        arguments: [
            ("200", "Content-Length: 7\r\n", BodyFraming.length(7)),
            ("200", "Content-Length: 7\r\nContent-Length: 7\r\n", .length(7)), ("200", "Transfer-Encoding: CHUNKED\r\n", .chunked),
            ("200", "Transfer-Encoding: gzip , Chunked\r\n", .chunked), ("200", "Transfer-Encoding: gzip\r\n", .untilEnd),
            ("200", "", .untilEnd), ("204", "Content-Length: 7\r\n", .none), ("304", "Content-Length: 7\r\n", .none), ("101", "", .none),
        ])
    func framing(status: String, fields: String, framing: BodyFraming) throws {
        #expect(try head("HTTP/1.1 \(status) X\r\n\(fields)\r\n").framing == framing)
    }

    @Test(
        "whether the connection stays open",
        arguments: [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", true), ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\nConnection: keep-alive\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n", true),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", false), ("HTTP/1.1 200 OK\r\n", false),
            ("HTTP/1.1 101 Switching\r\n", false),
        ])
    func keepsAlive(lines: String, keepsAlive: Bool) throws {
        #expect(try head(lines + "\r\n").keepsAlive == keepsAlive)
    }

    @Test(
        "what can be read in one way only is read",
        arguments: [
            // A length beside chunks does not count, whatever it says.
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Long: a\r\n b\r\n\tc\r\n\r\na 1\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length:\r\n 4\r\n\r\na 1\n", true),
            ("HTTP/1.1 200 OK\nContent-Length:\n\t4\n\na 1\n", true),
            ("HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 4\r\n\r\na 1\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\na 1\n", true), ("HTTP/1.1 200 OK\r\nContent-Length\t: 4\r\n\r\na 1\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\na 1\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: a\u{1}b\rc\0\r\n\r\na 1\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX(y): z\r\n: z\r\n\r\na 1\n", true),
            ("HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\na 1\n", true), ("HTTP/1.1  200  OK\r\nContent-Length: 4\r\n\r\na 1\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Encoding: text/plain\r\n\r\na 1\n", true),
        ])
    func lenient(stream: String, keepsAlive: Bool) {
        for length in 1...stream.utf8.count {
            let parsed = parse(stream, pieceLength: length)
            #expect(parsed.body == "a 1\n" && parsed.isEnded && parsed.left == 0 && parsed.failure == nil, "\(parsed)")
            #expect(parsed.heads.first?.keepsAlive == keepsAlive)
        }
    }

    @Test("a folded value is one value")
    func folded() throws {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain;\r\n  version=0.0.4\r\nX-Exporter-Proxy-Instances: a,\n b\r\n\r\n"
        let head = try head(text)
        #expect(head.contentType == "text/plain;   version=0.0.4")
        #expect(head.instances == "a,  b")
    }

    private static let streams = [
        "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\na 1\nb 2\n", "HTTP/1.1 200 OK\nContent-Length: 8\n\na 1\nb 2\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0004 ;x=\"y\"\r\nb 2\n\r\n0\r\nT: u\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\na 1\nb 2\n",
    ]

    @Test("a response is the same however it is cut", arguments: streams)
    func cut(stream: String) {
        for length in 1...stream.utf8.count {
            let parsed = parse(stream, pieceLength: length)
            #expect(parsed.heads.last?.status == 200)
            #expect(parsed.body == "a 1\nb 2\n" && parsed.isEnded && parsed.left == 0 && parsed.failure == nil, "\(length)")
        }
    }

    @Test("what follows a response is left where it is")
    func leftOver() {
        let parsed = parse("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na\nHTTP/1.1")
        #expect(parsed.body == "a\n" && parsed.isEnded && parsed.left == 8)
    }

    @Test("a body without a length never ends by itself")
    func untilEnd() {
        let parsed = parse("HTTP/1.0 200 OK\r\n\r\na 1\n", pieceLength: 3)
        #expect(parsed.body == "a 1\n" && !parsed.isEnded && parsed.failure == nil)
    }

    @Test(
        "what could be read in two ways, or is none, is refused in words",
        arguments: [
            ("SSH-2.0", "does not begin with HTTP/"), ("\r\nHTTP/1.1 200 OK\r\n\r\n", "does not begin with HTTP/"),
            ("HTTP/2.0 200 OK\r\n\r\n", "version"),
            ("HTTP/1.1 20 OK\r\n\r\n", "status"), ("HTTP/1.1 2000 OK\r\n\r\n", "status"), ("HTTP/1.1 099 OK\r\n\r\n", "status"),
            ("HTTP/1.1 +20 OK\r\n\r\n", "status"),
            ("HTTP/1.1 200 OK\r\nX\r\n\r\n", "header"),
            ("HTTP/1.1 200 OK\r\nContent-Type: a\u{1}\r\n\r\n", "control character"),
            ("HTTP/1.1 200 OK\r\nLocation: a\rb\r\n\r\n", "control character"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "Content-Length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1,\r\n\r\n", "Content-Length"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 x\r\n", "chunk"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n", "Content-Length"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "chunk"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "chunk"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "chunk"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n", "chunk"),
        ])
    func malformed(stream: String, words: String) {
        for length in [Int.max, 1] {
            guard case .malformed(let reason)? = parse(stream, pieceLength: length).failure else {
                Issue.record("taken: \(stream)")
                continue
            }
            #expect(reason.contains(words), "\(reason)")
        }
    }

    @Test("heads are limited, informational ones counted in")
    func headLimit() {
        let limit = ResponseDecoder.maxHead
        func response(headLength: Int, before: String = "") -> String {
            let (begin, end) = ("\(before)HTTP/1.1 200 OK\r\nX: ", "\r\nContent-Length: 0\r\n\r\n")
            return begin + String(repeating: "x", count: headLength - begin.utf8.count - end.utf8.count) + end
        }
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        for before in ["", early] {
            #expect(parse(response(headLength: limit, before: before)).isEnded)
            #expect(parse(response(headLength: limit + 1, before: before)).failure == .headTooLarge(limit: ResponseDecoder.maxHead))
        }
        #expect(parse("HTTP/1.1 200 " + String(repeating: "x", count: limit)).failure == .headTooLarge(limit: ResponseDecoder.maxHead))
    }

    @Test("lines between chunks are limited")
    func chunkLimits() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        func size(_ length: Int) -> String { "0;" + String(repeating: "x", count: length - 2) }
        #expect(parse("\(head)\(size(ChunkedBody.maxSizeLine - 1))\r\n\r\n").isEnded)
        #expect(parse("\(head)\(size(ChunkedBody.maxSizeLine + 1))\n\n").failure != nil)
        #expect(parse(head + size(ChunkedBody.maxSizeLine + 1)).failure != nil)
        func trailers(_ length: Int) -> String { "0\n" + String(repeating: "a: b\n", count: length / 5) + "\n" }
        #expect(parse(head + trailers(ChunkedBody.maxTrailers - 10)).isEnded)
        #expect(parse(head + trailers(ChunkedBody.maxTrailers + 10)).failure != nil)
    }
}
