import NIOCore
import Testing

@testable import HTTP

@Suite("HeadEncoder")
struct HeadEncoderTests {
    private let date = "Sun, 06 Nov 1994 08:49:37 GMT"

    @Test("a kept connection says status, headers, length and date")
    func keptConnection() {
        let head = head(of: Response(status: 200, headers: [("Vary", "Accept-Encoding")], body: [], contentLength: 1234), keepAlive: true)
        #expect(head == "HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nContent-Length: 1234\r\nDate: \(date)\r\n\r\n")
    }

    @Test("a connection that ends says close, to HTTP/1.0 too")
    func close() {
        #expect(head(of: .text(404, "x"), keepAlive: false).contains("\r\nConnection: close\r\n"))
        let head10 = head(of: .text(404, "x"), keepAlive: false, isHTTP10: true)
        #expect(head10.contains("\r\nConnection: close\r\n") && !head10.contains("keep-alive"))
    }

    @Test("staying open is said to HTTP/1.0 alone")
    func keepAlive() {
        #expect(head(of: .text(200, "x"), keepAlive: true, isHTTP10: true).contains("\r\nConnection: keep-alive\r\n"))
        #expect(!head(of: .text(200, "x"), keepAlive: true).contains("Connection"))
    }

    @Test("statuses have their reason phrases")
    func statusLines() {
        #expect(head(of: .text(405, "x"), keepAlive: true).hasPrefix("HTTP/1.1 405 Method Not Allowed\r\n"))
        #expect(head(of: .text(503, "x"), keepAlive: true).hasPrefix("HTTP/1.1 503 Service Unavailable\r\n"))
        // The space before an empty phrase is required (RFC 9112 §4).
        #expect(head(of: .text(299, "x"), keepAlive: true).hasPrefix("HTTP/1.1 299 \r\n"))
    }

    @Test("204 and 304 have neither body nor Content-Length", arguments: [204, 304])
    func noBody(status: Int) {
        let response = Response(status: status, body: [ByteBuffer(string: "x")], contentLength: 1)
        #expect(!head(of: response, keepAlive: true).contains("Content-Length"))
        #expect(response.pieces(answering: .get).isEmpty)
    }

    @Test("HEAD drops the body, not the length")
    func headRequest() {
        let response = Response.text(200, "hello")
        #expect(response.pieces(answering: .head).isEmpty)
        #expect(response.pieces(answering: .get) == [ByteBuffer(string: "hello\n")])
        #expect(head(of: response, keepAlive: true).contains("Content-Length: 6\r\n"))
    }

    @Test("no header can split the response", arguments: ["a\r\nX: y", "a\nX: y", "a\rX: y", "a\r\n\r\nbody", "a\0", "\u{7F}"])
    func splitting(value: String) {
        let text = head(of: Response(status: 200, headers: [("Allow", value)], body: [], contentLength: 0), keepAlive: true)
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        #expect(lines.count == 6)
        let controls = text.utf8.filter { ($0 < 0x20 && $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: "\n")) || $0 == 0x7F }
        #expect(controls.isEmpty)
        let inName = head(of: Response(status: 200, headers: [(value, "x")], body: [], contentLength: 0), keepAlive: true)
        #expect(inName.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).count == 6)
    }

    @Test("the head is appended to what the buffer holds, also when some of that was read")
    func appending() {
        var buffer = ByteBuffer(string: "ab")
        buffer.moveReaderIndex(forwardBy: 1)
        HeadEncoder.write(.text(200, "x", headers: [("Allow", "a\nb")]), to: &buffer, keepAlive: true, isHTTP10: false, date: date)
        let text = String(buffer: buffer)
        #expect(text.hasPrefix("bHTTP/1.1 200 OK\r\n"))
        #expect(text.contains("\r\nAllow: a b\r\n"))
    }

    private func head(of response: Response, keepAlive: Bool, isHTTP10: Bool = false) -> String {
        var buffer = ByteBuffer()
        HeadEncoder.write(response, to: &buffer, keepAlive: keepAlive, isHTTP10: isHTTP10, date: date)
        return String(buffer: buffer)
    }
}
