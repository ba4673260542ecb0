/// A part of a head, as it lies in a connection's buffer: valid only while that is looked at.
typealias HeadText = Slice<UnsafeRawBufferPointer>

extension HeadText {
    /// Without the spaces and tabs around it.
    var trimmed: HeadText {
        var text = drop { $0 == 0x20 || $0 == 0x09 }
        while let last = text.last, last == 0x20 || last == 0x09 { text.removeLast() }
        return text
    }

    /// Whether it is `lowercase`, which is in lower case when case does not matter.
    func matches(_ lowercase: StaticString, ignoringCase: Bool = true) -> Bool {
        guard count == lowercase.utf8CodeUnitCount else { return false }
        var expected = lowercase.utf8Start
        for byte in self {
            let folded = ignoringCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
            guard folded == expected.pointee else { return false }
            expected += 1
        }
        return true
    }

    /// A header line taken apart, the white space around its value gone (RFC 9112 §5); `nil` when it is malformed.
    var field: (name: HeadText, value: HeadText)? {
        let name = prefix { Self.isTokenByte($0) }
        // White space before the colon, or at the line's begin, could be read in two ways (§5.1, §5.2).
        guard !name.isEmpty, name.endIndex < endIndex, self[name.endIndex] == UInt8(ascii: ":") else { return nil }
        return (name, self[(name.endIndex + 1)...].trimmed)
    }

    /// Whether no byte of it could end a line, or is another control character (RFC 9110 §5.5).
    var isFieldValue: Bool { allSatisfy { ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 } }

    /// The number that it is: digits alone, as in `Content-Length` (RFC 9110 §8.6), and few enough not to overflow.
    var decimal: Int? {
        guard (1...18).contains(count), allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    /// RFC 9110 §5.6.2.
    static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"),
            UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"),
            UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }
}
