import NIOCore
import Testing

@testable import Proxy

@Suite("CapnpPushDecoder")
struct CapnpPushDecoderTests {
    private func decode(_ bytes: [UInt8], limit: Int = 1 << 20) -> DecodedStream { DecodedStream(bytes, format: .capnp, limit: limit) }

    @Test("what pycapnp writes in one segment is read")
    func oneSegment() {
        #expect(decode(CapnpMessages.oneSegment).pushes == [["app": "a 1\n"]])
        // The test's own writer makes the very same bytes.
        #expect(CapnpMessages.message() == CapnpMessages.oneSegment)
    }

    @Test("what pycapnp writes in two segments with a far pointer is read", arguments: [8193, 9000, 100_000])
    func twoSegments(count: Int) {
        let decoded = decode(CapnpMessages.twoSegments(count))
        #expect(decoded.rejection == nil)
        #expect(decoded.pushes == [["app": String(repeating: "x", count: count) + "\n"]])
    }

    @Test("messages follow one another")
    func stream() {
        let stream =
            CapnpMessages.oneSegment + CapnpMessages.twoSegments(9000) + CapnpMessages.message(name: "b", data: "")
            + CapnpMessages.oneSegment
        let decoded = decode(stream)
        #expect(decoded.rejection == nil)
        #expect(decoded.pushes.map { $0.keys.first } == ["app", "app", "b", "app"])
        #expect(decoded.pushes[2] == ["b": ""])
        #expect(decode([]).rejection == nil)
    }

    @Test("any stream gives the same answer however it is cut")
    func cuts() {
        let two = CapnpMessages.twoSegments(300)
        for stream in [
            CapnpMessages.oneSegment + CapnpMessages.oneSegment, two, two + CapnpMessages.message(name: "größe", data: "é 1"),
            CapnpMessages.oneSegment + Array("garbage that is no message".utf8), Array(CapnpMessages.oneSegment.dropLast()),
            Array("{\"a\":\"1\"}".utf8), [0, 0, 0, 0, 0, 0, 0, 0], CapnpMessages.twoSegments(20_000),
            // JSON after a length of eight bytes. The decoder reads the length as a segment table.
            [0, 0, 0, 0, 4, 0x53, 0x75, 0xF6] + Array("{\"a\":\"a 1\"}".utf8), [0, 0, 0, 0, 4, 0x53, 0x75, 0xF6] + Array("{\"a".utf8),
            // White space as long as what is looked at, then a brace.
            Array(repeating: 0x0D, count: 24) + [0x7B, 0x1F],
        ] {
            DecodedStream.expectSameHoweverCut(stream, format: .capnp)
            DecodedStream.expectSameHoweverCut(stream, format: .capnp, limit: 100)
        }
    }

    @Test("a message of exactly the limit is taken, one byte more is refused before it is held")
    func limit() throws {
        #expect(decode(CapnpMessages.oneSegment, limit: 48).pushes.count == 1)
        #expect(decode(CapnpMessages.oneSegment, limit: 47).rejection == .messageTooLarge(limit: ByteCount(47)))
        // The table alone tells.
        #expect(decode(Array(CapnpMessages.oneSegment.prefix(8)), limit: 47).rejection == .messageTooLarge(limit: ByteCount(47)))
        #expect(decode(CapnpMessages.hex("00000000 ffffffff")).rejection == .messageTooLarge(limit: ByteCount(1 << 20)))
    }

    @Test(
        "a message that is too large is refused as soon as its table is complete, also behind another one",
        arguments: [[], CapnpMessages.oneSegment])
    func limitOfTable(before: [UInt8]) throws {
        // 2 GiB. The first message would be eight bytes of JSON after their length, for one who read the table so.
        for table in ["00000000 00000010", "01000000 00000010 00000000 00000000"] {
            var decoder = PushFormat.capnp.makeDecoder(maxMessageSize: .mebibytes(1))
            decoder.feed(ByteBuffer(bytes: before + CapnpMessages.hex(table)))
            #expect(throws: Rejection.messageTooLarge(limit: .mebibytes(1))) {
                while try decoder.nextPush() != nil {}
            }
        }
    }

    @Test("a lower limit refuses a message that has begun")
    func lowerLimit() throws {
        var decoder = PushFormat.capnp.makeDecoder(maxMessageSize: ByteCount(48))
        decoder.feed(ByteBuffer(bytes: CapnpMessages.oneSegment.prefix(20)))
        #expect(try decoder.nextPush() == nil)
        decoder.maxMessageSize = ByteCount(47)
        decoder.feed(ByteBuffer(bytes: CapnpMessages.oneSegment.dropFirst(20)))
        #expect(throws: Rejection.messageTooLarge(limit: ByteCount(47))) { try decoder.nextPush() }
    }

    @Test("512 segments are taken, 513 refused")
    func segments() {
        // The root is an empty struct in the first segment: an app without a name.
        func message(_ segments: Int) -> [UInt8] {
            var message = ByteBuffer()
            message.writeInteger(UInt32(segments - 1), endianness: .little)
            message.writeInteger(1, endianness: .little, as: UInt32.self)
            message.writeRepeatingByte(0, count: 4 * (segments - 1))
            if segments % 2 == 0 { message.writeRepeatingByte(0, count: 4) }
            message.writeRepeatingByte(0, count: 8)
            return Array(buffer: message)
        }
        #expect(decode(message(1)).rejection?.reason == .invalidName)
        #expect(decode(message(2)).rejection?.reason == .invalidName)
        #expect(decode(message(512)).rejection?.reason == .invalidName)
        #expect(decode(message(513)).rejection?.reason == .malformed)
        #expect(decode(message(513)).rejection?.line.contains("513 segments") == true)
    }

    @Test("too many segments are told at the end too, however few bytes have come", arguments: ["1005500201010122", "2020202020"])
    func manySegmentsAtTheEnd(bytes: String) {
        #expect(decode(CapnpMessages.hex(bytes)).rejection?.line.contains("its segment table announces") == true)
    }

    @Test("a message that is cut short is refused at the end", arguments: [1, 3, 4, 7, 8, 16, 47])
    func truncated(length: Int) {
        #expect(decode(Array(CapnpMessages.oneSegment.prefix(length))).rejection == .truncated)
    }

    @Test(
        "JSON is told from Cap'n Proto, also a few bytes of it", arguments: ["{\"a\": \"x\"}", "{\"a\": \"1\"}\n", " {\"a\":1}", "{}", "{"])
    func wrongFormat(json: String) {
        #expect(decode(Array(json.utf8)).rejection == .wrongFormat(.json, expected: .capnp))
    }

    @Test("a TLS handshake is told by name")
    func tls() throws {
        #expect(try #require(decode([0x16, 3, 1, 2, 0, 1, 0, 1]).rejection).line.contains("TLS"))
    }

    @Test("text that is not UTF-8 is refused, with the app's name where it has one")
    func notUTF8() {
        #expect(decode(CapnpMessages.message(name: Array("app".utf8), data: [0x61, 0xFF])).rejection == .invalidUTF8(app: "app"))
        #expect(decode(CapnpMessages.message(name: [0xC3], data: Array("a 1".utf8))).rejection == .invalidUTF8(app: nil))
        #expect(decode(CapnpMessages.message(name: Array("a".utf8), data: [0xED, 0xA0, 0x80])).rejection == .invalidUTF8(app: "a"))
    }

    @Test("a NUL in metrics, and names that are none, are refused")
    func textRules() {
        #expect(decode(CapnpMessages.message(data: "a\0b")).rejection == .nulByte(app: "app"))
        for name in ["", "a\nb", "\0", "\u{85}", String(repeating: "n", count: 257)] {
            #expect(decode(CapnpMessages.message(name: name)).rejection?.reason == .invalidName, "\(name.debugDescription)")
        }
        #expect(decode(CapnpMessages.message(name: String(repeating: "n", count: 256))).rejection == nil)
    }

    @Test("pointers that lead nowhere good are refused, and never read outside of the message")
    func hostilePointers() throws {
        let good = CapnpMessages.oneSegment
        // Every single byte replaced by every value: an answer each time, never a crash.
        for index in good.indices {
            for value in UInt8.min...UInt8.max {
                var bytes = good
                bytes[index] = value
                let decoded = decode(bytes, limit: 1 << 12)
                #expect(decoded.pushes.count <= 1)
            }
        }
        // The data pointer shows beyond the segment.
        var beyond = good
        beyond[24] = 0xFD
        #expect(decode(beyond).rejection?.reason == .malformed)
        // A far pointer to a segment that is not there.
        let far = Array(good.prefix(16)) + CapnpMessages.hex("0200000009000000") + Array(good.dropFirst(24))
        #expect(decode(far).rejection?.reason == .malformed)
    }

    @Test("a text without its final NUL is refused with the whole reason, which quotes a NUL")
    func textWithoutNUL() {
        var message = CapnpMessages.oneSegment
        // The length of the data, without the NUL.
        message[28] = 4 << 3 | 2
        #expect(decode(message).rejection?.line.contains("text that is not NUL-terminated") == true)
    }

    @Test("a struct of a newer schema, with more fields, is read")
    func newerSchema() {
        // As `oneSegment`, with a data section of one word and a third pointer, both unknown here.
        let message = CapnpMessages.hex(
            """
            0000000007000000 0000000001000300 2a00000000000000 0900000022000000 090000002a000000 0000000000000000
            6170700000000000 6120310a00000000
            """)
        #expect(decode(message).pushes == [["app": "a 1\n"]])
    }

    @Test("bytes that do not start at a word of memory are read all the same")
    func unaligned() throws {
        var decoder = CapnpPushDecoder(maxMessageSize: .mebibytes(1))
        var buffer = ByteBuffer(bytes: [0, 0, 0])
        buffer.writeBytes(CapnpMessages.oneSegment)
        buffer.moveReaderIndex(forwardBy: 3)
        decoder.feed(buffer)
        let push = try #require(try decoder.nextPush())
        #expect(push.apps.map(\.name.description) == ["app"])
        try decoder.finish()
    }
}
