import NIOCore
import Testing

@testable import Proxy

@Suite("UnexpectedBeginning")
struct UnexpectedBeginningTests {
    private static let foreign: [(what: String, bytes: [UInt8], found: UnexpectedBeginning)] = [
        ("a request", Array("GET /metrics HTTP/1.1\r\n".utf8), .foreign(.http)),
        ("a request through a proxy", Array("POST http://127.0.0.1/ HTTP/1.1\r\n".utf8), .foreign(.http)),
        ("HTTP/2", Array("PRI * HTTP/2.0\r\n\r\n".utf8), .foreign(.http)),
        ("a TLS handshake", [0x16, 0x03, 0x01, 0x02, 0x00, 0x01], .foreign(.tls)),
        ("gzip", [0x1F, 0x8B, 0x08, 0, 0, 0, 0, 0, 0, 3], .foreign(.gzip)),
        ("Cap'n Proto in one segment", CapnpMessages.oneSegment, .foreign(.capnp)),
        ("Cap'n Proto in two segments", CapnpMessages.twoSegments(9000), .foreign(.capnp)),
        ("a big-endian length", [0, 0, 0, 0x2A] + Array(#"{"a":"a 1"}"#.utf8), .lengthPrefix),
        ("a little-endian length", [0x8A, 1, 0, 0] + Array(#"{"a":"a 1"}"#.utf8), .lengthPrefix),
        ("a short length", [0, 0x0B] + Array(#"{"a":"a 1"}"#.utf8), .lengthPrefix),
        ("a length in 64 bits", [0, 0, 0, 0, 0, 0, 0, 0x0B] + Array(#"{"a":"a 1"}"#.utf8), .lengthPrefix),
        ("a byte order mark", [0xEF, 0xBB, 0xBF] + Array("{}".utf8), .byteOrderMark),
        ("metrics", Array("# HELP a b\na 1\n".utf8), .text(UInt8(ascii: "#"))),
        ("metrics that begin as a method does", Array("GET_total 5\n".utf8), .text(UInt8(ascii: "G"))),
        ("a NUL", [0], .other(0)),
        ("zeros", Array(repeating: 0, count: 100), .other(0)),
        ("a number", Array("5".utf8), .other(UInt8(ascii: "5"))),
        ("half a beginning of gzip", [0x1F], .other(0x1F)),
        ("half a method", Array("DEL".utf8), .text(UInt8(ascii: "D"))),
    ]

    @Test("bytes are named only when they are certain, and the same however they come", arguments: foreign.indices)
    func look(index: Int) {
        let (what, bytes, expected) = Self.foreign[index]
        #expect(UnexpectedBeginning.look(at: bytes, isAll: true) == expected, "\(what)")
        for count in 0..<bytes.count {
            let found = UnexpectedBeginning.look(at: bytes.prefix(count), isAll: false)
            #expect(found == nil || found == expected, "\(what), \(count) bytes")
        }
    }

    @Test("no more bytes than the longest are waited for")
    func longest() {
        for first in UInt8.min...UInt8.max {
            for next in [0, 1, 0x7B, 0xFF] as [UInt8] {
                let bytes = [first] + Array(repeating: next, count: UnexpectedBeginning.longest - 1)
                #expect(UnexpectedBeginning.look(at: bytes, isAll: false) != nil, "\(bytes)")
            }
        }
    }

    @Test(
        "each receiver says what came, and what it takes",
        arguments: [
            (PushFormat.json, "GET / HTTP/1.1\r\n\r\n", "this is an HTTP request, but this port takes JSON"),
            (.capnp, "GET / HTTP/1.1\r\n\r\n", "this is an HTTP request, but this port takes Cap'n Proto"),
            (.capnp, #"{"a":"a 1"}"#, "these bytes look like JSON, but this receiver takes Cap'n Proto"),
            (.capnp, "\n {", "these bytes look like JSON, but this receiver takes Cap'n Proto"),
            (.capnp, "{}", "these bytes look like JSON"),
            (.json, "\u{1F}\u{8B}", "these bytes are compressed with gzip"),
            (.json, "\u{16}\u{3}\u{1}", "this looks like a TLS handshake"),
            (.json, #"{"a":"a 1"}\#0"#, "malformed JSON: found byte 0x00 after an object"),
            (.json, #"{"a":"a 1"}]"#, "malformed JSON: found ']' after an object"),
            (.json, "\0\0\0\u{B}{\"a\":\"a 1\"}", "malformed JSON: found a number, perhaps a length, in front of"),
            (.capnp, "\0\0\0\u{B}{\"a\":\"a 1\"}", "malformed Cap'n Proto message: found a number, perhaps a length, in front of"),
            (.json, "\0\0", "malformed JSON: found byte 0x00 where an object should begin"),
            (.json, "a 1\n", "malformed JSON: found 'a' where an object should begin: a file of metrics is sent with exporter-proxy push"),
            (.capnp, "a_total 1\n", "malformed Cap'n Proto message: found 'a' where a message's segment table should begin: a file of"),
        ])
    func lines(format: PushFormat, text: String, beginning: String) {
        // Characters up to U+00FF stand for bytes.
        let bytes = text.unicodeScalars.map { UInt8($0.value) }
        let line = DecodedStream(bytes, format: format).rejection?.line
        #expect(line?.hasPrefix(beginning) == true, "\(line ?? "nothing")")
        DecodedStream.expectSameHoweverCut(bytes, format: format)
    }
}
