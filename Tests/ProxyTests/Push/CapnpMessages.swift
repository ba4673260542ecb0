import NIOCore

/// Messages as pycapnp 2.2 writes them (`InboundMetrics.new_message(appName=…, data=…).to_bytes()`).
enum CapnpMessages {
    /// `appName="app", data="a 1\n"`.
    static let oneSegment = hex(
        """
        0000000005000000 0000000000000200 0500000022000000 050000002a000000 6170700000000000 6120310a00000000
        """)

    /// `appName="app", data="x" * count`: above 8 KiB pycapnp puts the text into a second segment, behind a far pointer.
    static func twoSegments(_ count: Int) -> [UInt8] {
        let textWords = (count + 1 + 7) / 8
        var message = ByteBuffer()
        message.writeBytes(hex("01000000 04000000"))
        message.writeInteger(UInt32(textWords + 1), endianness: .little)
        message.writeBytes(hex("00000000 0000000000000200 0500000022000000 0200000001000000 6170700000000000 01000000"))
        // A list of bytes, its length with the final NUL (capnproto.org/encoding.html, "Lists").
        message.writeInteger(UInt32((count + 1) << 3 | 2), endianness: .little)
        message.writeRepeatingByte(UInt8(ascii: "x"), count: count)
        message.writeRepeatingByte(0, count: 8 * textWords - count)
        return Array(buffer: message)
    }

    /// One segment, as `capnp::MallocMessageBuilder` lays a small message out.
    static func message(name: [UInt8], data: [UInt8]) -> [UInt8] {
        func words(_ text: [UInt8]) -> Int { (text.count + 1 + 7) / 8 }
        var message = ByteBuffer()
        message.writeInteger(0, endianness: .little, as: UInt32.self)
        message.writeInteger(UInt32(3 + words(name) + words(data)), endianness: .little)
        message.writeBytes(hex("0000000000000200"))
        message.writeInteger(UInt32(1 << 2 | 1), endianness: .little)
        message.writeInteger(UInt32((name.count + 1) << 3 | 2), endianness: .little)
        message.writeInteger(UInt32(words(name) << 2 | 1), endianness: .little)
        message.writeInteger(UInt32((data.count + 1) << 3 | 2), endianness: .little)
        for text in [name, data] {
            message.writeBytes(text)
            message.writeRepeatingByte(0, count: 8 * words(text) - text.count)
        }
        return Array(buffer: message)
    }

    static func message(name: String = "app", data: String = "a 1\n") -> [UInt8] { message(name: Array(name.utf8), data: Array(data.utf8)) }

    static func hex(_ text: String) -> [UInt8] {
        let digits = text.filter(\.isHexDigit)
        return stride(from: 0, to: digits.count, by: 2).compactMap { offset in
            let start = digits.index(digits.startIndex, offsetBy: offset)
            return UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16)
        }
    }
}
