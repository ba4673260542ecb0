import NIOCore

/// Writes JSON text piece by piece (RFC 8259). The caller writes the commas.
struct JSONWriter {
    /// What has been written and not taken out yet.
    var buffer = ByteBuffer()

    /// - Parameter capacity: bytes that are about to be written, as far as it is known.
    init(capacity: Int = 0) { buffer.reserveCapacity(capacity) }

    /// Punctuation, names of members, numbers: written as it is.
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

    private mutating func write(escaped byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): raw("\\\"")
        case UInt8(ascii: "\\"): raw("\\\\")
        case UInt8(ascii: "\n"): raw("\\n")
        case UInt8(ascii: "\r"): raw("\\r")
        case UInt8(ascii: "\t"): raw("\\t")
        case ..<0x20:
            raw(byte < 0x10 ? "\\u000" : "\\u00")
            buffer.writeString(String(byte, radix: 16))
        default: buffer.writeInteger(byte)
        }
    }
}
