import NIOCore

/// Writes JSON text piece by piece (RFC 8259). The caller writes the commas.
public struct JSONWriter {
    /// The written text that was not taken out yet.
    var buffer = ByteBuffer()

    /// - Parameter capacity: the expected number of bytes.
    init(capacity: Int = 0) { buffer.reserveCapacity(capacity) }

    /// Punctuation, names of members, numbers: written without escaping.
    mutating func raw(_ text: StaticString) { buffer.writeStaticString(text) }

    /// A number, or `null`.
    mutating func number(_ number: Int?) { buffer.writeString(number.map(String.init) ?? "null") }

    /// A quoted string, or `null`.
    mutating func string(_ text: String?) {
        guard let text else { return raw("null") }
        raw("\"")
        if text.utf8.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
            buffer.writeString(text)
        } else {
            for byte in text.utf8 { write(escaped: byte) }
        }
        raw("\"")
    }

    /// A quoted string for display: characters that are not safe to print are escaped too.
    public static func printable(_ text: String) -> String {
        var json = JSONWriter()
        json.raw("\"")
        for scalar in text.unicodeScalars {
            if scalar.isSafeToPrint || scalar.value < 0x20 {
                for byte in String(scalar).utf8 { json.write(escaped: byte) }
            } else {
                // As in JSON, two units for a scalar beyond U+FFFF.
                for unit in String(scalar).utf16 { json.write(unit: unit) }
            }
        }
        json.raw("\"")
        return String(buffer: json.buffer)
    }

    private mutating func write(escaped byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): raw("\\\"")
        case UInt8(ascii: "\\"): raw("\\\\")
        case UInt8(ascii: "\n"): raw("\\n")
        case UInt8(ascii: "\r"): raw("\\r")
        case UInt8(ascii: "\t"): raw("\\t")
        case ..<0x20: write(unit: UInt16(byte))
        default: buffer.writeInteger(byte)
        }
    }

    private mutating func write(unit: UInt16) {
        let digits = String(unit, radix: 16)
        buffer.writeString("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits)
    }
}
