import NIOCore
import Proxy
import TestSupport
import Testing

@Suite struct PushEncoderTests {
    private func encode(_ metrics: [UInt8], app: String = "app", _ format: PushFormat) throws -> ByteBuffer {
        var encoder = try PushEncoder(app: #require(AppName(app)), metrics: ByteBuffer(bytes: metrics), format: format)
        var message = ByteBuffer()
        while var piece = encoder.next() { message.writeBuffer(&piece) }
        return message
    }

    private func decode(_ message: ByteBuffer, _ format: PushFormat) throws -> Push? {
        var decoder = format.makeDecoder(maxMessageSize: .gibibytes(1))
        decoder.feed(message)
        let push = try decoder.nextPush()
        let more = try decoder.nextPush()
        #expect(more == nil)
        try decoder.finish()
        return push
    }

    @Test("what is encoded is decoded again, byte for byte", arguments: PushFormat.allCases)
    func roundTrip(format: PushFormat) throws {
        let texts = [
            "a 1\n", "a{b=\"c\\\\d\\\"e\\n\"} 1\nb 2\r\n\tc\u{1}\u{1F}\u{7F}\n", "é€😀\u{2028}\u{FEFF}\n", "no newline",
            String(repeating: "x", count: 7) + "\n", String(repeating: "y", count: 8), String(repeating: "z", count: 9),
        ]
        for text in texts {
            for name in ["a", "sevenby", "eight by", "nine \"by\\", "é€😀", String(repeating: "n", count: 256)] {
                let push = try #require(try decode(encode(Array(text.utf8), app: name, format), format))
                #expect(push.apps.count == 1)
                #expect(push.apps[0].name.description == name)
                let expected = text.hasSuffix("\n") ? text : text + "\n"
                #expect(String(buffer: push.apps[0].exposition.buffer) == expected)
            }
        }
    }

    @Test("no metrics at all are a message too", arguments: PushFormat.allCases)
    func empty(format: PushFormat) throws {
        let push = try #require(try decode(encode([], format), format))
        #expect(push.apps[0].exposition.size == 0)
    }

    @Test("a large message comes in many pieces and is whole", arguments: PushFormat.allCases)
    func large(format: PushFormat) throws {
        // Characters of two bytes, so that pieces end within one.
        let text = "x" + String(repeating: "é\"\n", count: 100_000)
        var encoder = try PushEncoder(app: #require(AppName("app")), metrics: ByteBuffer(string: text), format: format)
        var message = ByteBuffer()
        var pieces = 0
        while var piece = encoder.next() {
            #expect(piece.readableBytes <= 6 * 65536)
            message.writeBuffer(&piece)
            pieces += 1
        }
        #expect(pieces > 5)
        #expect(try decode(message, format)?.apps[0].exposition.buffer == ByteBuffer(string: text))
    }

    @Test("Cap'n Proto is one segment of whole words")
    func capnpBytes() throws {
        let message = Array(try encode(Array("a 1\n".utf8), app: "app", .capnp).readableBytesView)
        #expect(
            message == [
                0, 0, 0, 0, 5, 0, 0, 0,  // One segment of five words.
                0, 0, 0, 0, 0, 0, 2, 0,  // A struct of two pointers.
                5, 0, 0, 0, 0x22, 0, 0, 0,  // Four bytes, one word further on.
                5, 0, 0, 0, 0x2A, 0, 0, 0,  // Five bytes, one word further on.
                0x61, 0x70, 0x70, 0, 0, 0, 0, 0,
                0x61, 0x20, 0x31, 0x0A, 0, 0, 0, 0,
            ])
    }

    @Test("JSON is one object, and an empty line for who is no receiver")
    func jsonBytes() throws {
        #expect(String(buffer: try encode(Array("a{b=\"c\"} 1\n".utf8), app: "a\"b", .json)) == #"{"a\"b":"a{b=\"c\"} 1\n"}"# + "\r\n\r\n")
    }

    @Test("text that no receiver takes is refused before anything is sent, with its line", arguments: PushFormat.allCases)
    func faults(format: PushFormat) throws {
        #expect(throws: PushEncoder.InvalidMetrics.notUTF8(line: 2)) {
            try encode(Array("a 1\nb".utf8) + [0xFF] + Array("\nc 1\n".utf8), format)
        }
        #expect(throws: PushEncoder.InvalidMetrics.notUTF8(line: 1)) { try encode([0xC3], format) }
        #expect(throws: PushEncoder.InvalidMetrics.nulByte(line: 3)) { try encode(Array("a 1\n\nb\0 1".utf8), format) }
        #expect(throws: PushEncoder.InvalidMetrics.nulByte(line: 1)) { try encode([0], format) }
    }
}
