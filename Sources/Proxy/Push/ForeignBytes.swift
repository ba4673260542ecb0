import NIOCore

/// A format or protocol that a receiver does not accept.
public enum ForeignBytes: Hashable, Sendable {
    case json
    case capnp
    case http
    case tls
    case gzip
}

/// The format of a connection's first bytes if they do not begin a message of the receiver's format. Only a certain match gets a name.
enum UnexpectedBeginning: Hashable {
    case foreign(ForeignBytes)
    /// A number, the size of the object, before a JSON object.
    case lengthPrefix
    case byteOrderMark
    /// The first byte of metrics in the text format, perhaps.
    case text(UInt8)
    case other(UInt8)

    /// The longest beginning that tells a format, in bytes.
    static let longest = 24

    private static let signatures: [(kind: UnexpectedBeginning, bytes: [UInt8])] =
        [
            // A handshake record (RFC 8446 §5.1).
            (.foreign(.tls), [0x16, 0x03]),
            // RFC 1952 §2.3.1.
            (.foreign(.gzip), [0x1F, 0x8B]),
            (.byteOrderMark, [0xEF, 0xBB, 0xBF]),
            // Its target is not like that of other requests.
            (.foreign(.http), Array("CONNECT ".utf8)),
        ]

    /// Checks bytes that begin with neither white space nor an opening brace, or those that a Cap'n Proto receiver refuses.
    /// - Parameters:
    ///   - bytes: the connection's first bytes, without white space before them.
    ///   - isAll: whether no more bytes can follow.
    /// - Returns: `nil` when more bytes are needed to tell.
    static func look(at bytes: some Collection<UInt8>, isAll: Bool) -> UnexpectedBeginning? {
        let beginning = Array(bytes.prefix(longest))
        guard let first = beginning.first else { return isAll ? .other(0) : nil }
        if first == UInt8(ascii: "{") { return .foreign(.json) }
        let needsMore = !isAll && beginning.count < longest
        for (kind, signature) in signatures {
            if beginning.starts(with: signature) { return kind }
            if needsMore, signature.starts(with: beginning) { return nil }
        }
        switch beginsHTTP(beginning) {
        case true?: return .foreign(.http)
        case nil where needsMore: return nil
        default: break
        }
        if isText(first) { return .text(first) }
        guard isBinary(first) else { return .other(first) }
        switch beginsCapnp(beginning) {
        case true?: return .foreign(.capnp)
        case nil where needsMore: return nil
        default: break
        }
        if let brace = beginning.prefix(9).firstIndex(of: UInt8(ascii: "{")) {
            return [1, 2, 4, 8].contains(brace) && beginning[..<brace].contains { $0 > 0 } ? .lengthPrefix : .other(first)
        }
        return needsMore && beginning.count < 9 ? nil : .other(first)
    }

    /// A name, or a comment.
    private static func isText(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: ":"),
            UInt8(ascii: "#"):
            true
        default: false
        }
    }

    private static func isBinary(_ byte: UInt8) -> Bool { byte < 0x20 || byte >= 0x7F }

    /// Whether a request line begins here: a method, which clients write in capital letters, and a path, a URL or `*` (RFC 9112 §3).
    /// - Returns: `nil` when more bytes are needed to tell.
    private static func beginsHTTP(_ bytes: [UInt8]) -> Bool? {
        let method = bytes.prefix { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) || $0 == UInt8(ascii: "-") }
        guard (1...16).contains(method.count) else { return false }
        let rest = bytes[method.count...]
        let targets = [" /", " http", " *"].map { Array($0.utf8) }
        if targets.contains(where: rest.starts) { return true }
        return targets.contains { $0.starts(with: rest) } ? nil : false
    }

    /// Whether a message of one or two segments begins here, as nearly every client writes them: the segment table, then a pointer to a
    /// struct (capnproto.org/encoding.html).
    /// - Returns: `nil` when more bytes are needed to tell.
    private static func beginsCapnp(_ bytes: [UInt8]) -> Bool? {
        func number(at index: Int, bytes count: Int) -> UInt64? {
            guard bytes.count >= index + count else { return nil }
            return bytes[index..<index + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        for (byte, most) in zip(bytes.prefix(4), [1, 0, 0, 0] as [UInt8]) where byte > most { return false }
        guard let segments = number(at: 0, bytes: 4), let words = number(at: 4, bytes: 4) else { return nil }
        guard (1..<1 << 27).contains(words) else { return false }
        guard let root = number(at: segments == 0 ? 8 : 16, bytes: 8) else { return nil }
        let (dataWords, pointers) = (root >> 32 & 0xFFFF, root >> 48)
        switch root & 3 {
        case 0: return dataWords <= 32 && (1...32).contains(pointers)
        // A far pointer: the struct is in the other segment.
        case 2: return segments == 1
        default: return false
        }
    }

    /// For a receiver of `format`: why these bytes are refused.
    func rejection(expected format: PushFormat) -> Rejection {
        switch self {
        case .foreign(let found): .wrongFormat(found, expected: format)
        case .lengthPrefix:
            .malformed(
                format,
                "found a number, perhaps a length, in front of a JSON object: send \(Self.wanted(format)) without a length in front of it")
        case .byteOrderMark:
            .malformed(
                format, "found a byte order mark (bytes 0xef 0xbb 0xbf) where \(Self.wanted(format)) should begin: send UTF-8 without one")
        case .text(let byte):
            .malformed(
                format,
                "found \(Self.shown(byte)) where \(Self.wanted(format)) should begin: a file of metrics is sent with exporter-proxy push --app NAME --to ADDRESS FILE"
            )
        case .other(let byte): .malformed(format, "found \(Self.shown(byte)) where \(Self.wanted(format)) should begin")
        }
    }

    /// A byte as messages show it.
    static func shown(_ byte: UInt8) -> String {
        if (0x21..<0x7F).contains(byte) { return "'\(Character(UnicodeScalar(byte)))'" }
        return (byte < 0x10 ? "byte 0x0" : "byte 0x") + String(byte, radix: 16)
    }

    private static func wanted(_ format: PushFormat) -> String {
        switch format {
        case .json: "an object"
        case .capnp: "a message's segment table"
        }
    }
}

/// Finds the fault in an object that the parser refused, because the parser does not report its position: the first byte that violates
/// RFC 8259 or begins a number, and the app whose metrics contain it.
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
        guard depth <= Self.maxDepth else { throw nestedTooDeep }
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
        guard depth <= Self.maxDepth else { throw nestedTooDeep }
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
            let start = index
            let first = try readDigits()
            guard (0xD800...0xDFFF).contains(first) else { break }
            var isPair = first < 0xDC00 && bytes[(index + 1)...].starts(with: "\\u".utf8)
            if isPair {
                index += 2
                let second = try readDigits()
                isPair = (0xDC00...0xDFFF).contains(second)
            }
            guard isPair else {
                throw misplaced("half of a surrogate pair at byte \(start)\(place): write the whole pair, or \\ufffd in its place")
            }
        case UInt8(ascii: "n"): lines += 1
        case let byte? where "\"\\/bfrt".utf8.contains(byte): break
        default: throw misplaced("'\\' begins no escape with \(shownCurrent) at byte \(index + 1)\(place): write '\\\\' for a backslash")
        }
        index += 1
    }

    /// The four digits after `\u`. Ends at the last one.
    private mutating func readDigits() throws(Found) -> UInt32 {
        var number: UInt32 = 0
        for _ in 0..<4 {
            index += 1
            guard let byte = current, let digit = Character(UnicodeScalar(byte)).hexDigitValue else {
                throw misplaced(wanting: "one of four hexadecimal digits after '\\u'")
            }
            number = number << 4 | UInt32(digit)
        }
        return number
    }

    /// A name without quotes. A number is never accepted, and the parser may have refused it for its size.
    private mutating func readWord() throws(Found) {
        let start = index
        while let byte = current, UnicodeScalar(byte).properties.isAlphabetic, byte < 0x80 { index += 1 }
        let word = String(decoding: bytes[start..<index], as: UTF8.self)
        guard ["true", "false", "null"].contains(word) else {
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

    private var nestedTooDeep: Found { misplaced("values are nested more than \(Self.maxDepth) deep at byte \(index + 1)\(place)") }

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
