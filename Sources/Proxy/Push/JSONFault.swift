/// Finds the fault in an object that the parser refused, because the parser does not report its position: the first byte that violates
/// RFC 8259, and the app whose metrics contain it.
struct JSONFault {
    /// The parser's limit.
    private static let maxDepth = 16

    private let bytes: UnsafeRawBufferPointer
    private var index = 0
    /// The app whose value is being read, and how many of its lines have ended.
    private var app: String?
    private var lines = 0

    /// The fault, as a message.
    private struct Found: Error {
        let words: String
    }

    /// - Returns: what is wrong and at which byte, counted from 1; `nil` when nothing is found.
    static func find(in bytes: UnsafeRawBufferPointer) -> String? {
        var fault = JSONFault(bytes: bytes)
        do throws(Found) {
            try fault.readValue(depth: 1)
            return nil
        } catch {
            return error.words
        }
    }

    private init(bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    // MARK: Values

    private mutating func readValue(depth: Int) throws(Found) {
        skipSpace()
        switch current {
        case UInt8(ascii: "{"): try readObject(depth: depth)
        case UInt8(ascii: "["): try readArray(depth: depth)
        case UInt8(ascii: "\""): try readString()
        default: try readWord()
        }
    }

    private mutating func readObject(depth: Int) throws(Found) {
        guard depth <= Self.maxDepth else { throw misplaced("values are nested more than \(Self.maxDepth) deep") }
        index += 1
        skipSpace()
        if take(UInt8(ascii: "}")) { return }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw misplaced(wanting: depth == 1 ? "an app name in double quotes" : "a string") }
            let start = index
            if depth == 1 {
                app = nil
                lines = 0
            }
            try readString()
            let name = start + 1..<index - 1
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw misplaced(wanting: "':'") }
            if depth == 1 { app = String(decoding: bytes[name], as: UTF8.self) }
            try readValue(depth: depth + 1)
            if depth == 1 { app = nil }
            skipSpace()
            if take(UInt8(ascii: "}")) { return }
            guard take(UInt8(ascii: ",")) else { throw misplaced(wanting: "',' or '}'") }
        }
    }

    private mutating func readArray(depth: Int) throws(Found) {
        guard depth <= Self.maxDepth else { throw misplaced("values are nested more than \(Self.maxDepth) deep") }
        index += 1
        skipSpace()
        if take(UInt8(ascii: "]")) { return }
        while true {
            try readValue(depth: depth + 1)
            lines += 1
            skipSpace()
            if take(UInt8(ascii: "]")) { return }
            guard take(UInt8(ascii: ",")) else { throw misplaced(wanting: "',' or ']'") }
        }
    }

    private mutating func readString() throws(Found) {
        index += 1
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                return
            case UInt8(ascii: "\\"): try readEscape()
            case 0..<0x20: throw rawControl(byte)
            default: index += 1
            }
        }
        throw misplaced(wanting: "the end of a string")
    }

    /// RFC 8259 §7.
    private mutating func readEscape() throws(Found) {
        index += 1
        switch current {
        case UInt8(ascii: "u"):
            for _ in 0..<4 {
                index += 1
                guard let byte = current, UnicodeScalar(byte).properties.isASCIIHexDigit else {
                    throw misplaced(wanting: "one of four hexadecimal digits after '\\u'")
                }
            }
        case UInt8(ascii: "n"): lines += 1
        case let byte? where "\"\\/bfrt".utf8.contains(byte): break
        default: throw misplaced("'\\' begins no escape with \(shownCurrent) at byte \(index + 1)\(place): write '\\\\' for a backslash")
        }
        index += 1
    }

    /// A number or a name. It need not be valid, because neither is accepted here.
    private mutating func readWord() throws(Found) {
        let start = index
        while let byte = current, UnicodeScalar(byte).properties.isAlphabetic || "0123456789+-.".utf8.contains(byte), byte < 0x80 {
            index += 1
        }
        let word = String(decoding: bytes[start..<index], as: UTF8.self)
        let isNumber = word.utf8.first.map { $0 == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false
        guard isNumber || ["true", "false", "null"].contains(word) else {
            index = start
            throw misplaced(wanting: "a string or an array of strings")
        }
    }

    // MARK: Bytes

    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard current == byte else { return false }
        index += 1
        return true
    }

    // MARK: Words

    private var shownCurrent: String { current.map(UnexpectedBeginning.shown) ?? "the end of the object" }

    /// The app whose metrics contain the current byte, for messages.
    private var place: String { app.map { ", in the metrics of app \(Rejection.quoted($0))" } ?? "" }

    private func misplaced(wanting wanted: String) -> Found {
        Found(words: "found \(shownCurrent) at byte \(index + 1) where \(wanted) should be\(place)")
    }

    private func misplaced(_ words: String) -> Found { Found(words: words) }

    private func rawControl(_ byte: UInt8) -> Found {
        let escape =
            switch byte {
            case UInt8(ascii: "\n"): "\\n"
            case UInt8(ascii: "\r"): "\\r"
            case UInt8(ascii: "\t"): "\\t"
            default: "\\u00" + (byte < 0x10 ? "0" : "") + String(byte, radix: 16)
            }
        let what =
            switch byte {
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"): "ends in a raw line break"
            case UInt8(ascii: "\t"): "holds a raw tab"
            default: "holds the control character \(UnexpectedBeginning.shown(byte))"
            }
        let place = "at byte \(index + 1)"
        guard let app else { return Found(words: "an app name \(what) \(place), but a name has no control characters") }
        let name = Rejection.quoted(app)
        return Found(words: "line \(lines + 1) of the metrics of app \(name) \(what) \(place): write \(escape) in its place")
    }
}
