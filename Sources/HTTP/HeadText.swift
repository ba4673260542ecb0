import Glibc

/// The characters of a token: method, field name, authentication scheme (RFC 9110 §5.6.2).
public enum Token {
    /// Whether `byte` may be part of a token.
    public static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        // ! # $ % & ' * + - . ^ _ ` | ~ as numbers: each byte of each head comes here.
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
        default: false
        }
    }
}

/// A part of a head in the connection's buffer. Valid only while that buffer is read.
typealias HeadText = Slice<UnsafeRawBufferPointer>

extension HeadText {
    /// Without the spaces, tabs and folded line ends around it. In requests no line is folded, and any other CR or LF is refused before.
    var trimmed: HeadText { trimmed(of: Self.isBlank) }

    /// Without the white space around the value of a field (RFC 9110 §5.5): spaces and tabs, in responses also folded line ends. `HeadLines`
    /// ends lines at all other LFs.
    func trimmed(_ strictness: Strictness) -> HeadText {
        strictness == .response ? trimmed : trimmed(of: { $0 == 0x20 || $0 == 0x09 })
    }

    private func trimmed(of isBlank: (UInt8) -> Bool) -> HeadText {
        var text = self
        while let first = text.first, isBlank(first) { text = text.dropFirst() }
        while let last = text.last, isBlank(last) { text = text.dropLast() }
        return text
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }

    /// Whether it equals `expected`. With `ignoringCase`, `expected` is in lower case.
    func matches(_ expected: StaticString, ignoringCase: Bool = true) -> Bool {
        guard count == expected.utf8CodeUnitCount else { return false }
        var next = expected.utf8Start
        for byte in self {
            let folded = ignoringCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
            guard folded == next.pointee else { return false }
            next += 1
        }
        return true
    }

    /// Whether it has no control character but tabs (RFC 9110 §5.5).
    var isFieldValue: Bool { allSatisfy { ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 } }

    /// Its number, if it consists of digits only, as in `Content-Length` (RFC 9110 §8.6), and of few enough not to overflow.
    var decimal: Int? {
        guard (1...18).contains(count), allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    /// Whether the last element of this comma-separated list is `lowercase`.
    func lastElementMatches(_ lowercase: StaticString) -> Bool {
        let start = lastIndex(of: UInt8(ascii: ",")).map { $0 + 1 } ?? startIndex
        return self[start...].trimmed.matches(lowercase)
    }
}

/// One header line (RFC 9112 §5).
enum HeadField {
    case field(name: HeadText, value: HeadText)
    /// The name is not a token. The line is not ambiguous, and no field that the program uses has such a name, so it is ignored.
    case nameless
    case malformed

    /// Parses a line, without the white space around its value.
    init(_ line: HeadText, _ strictness: Strictness) {
        let name = line.prefix { Token.isTokenByte($0) }
        if !name.isEmpty, name.endIndex < line.endIndex, line[name.endIndex] == UInt8(ascii: ":") {
            self = .field(name: name, value: line[(name.endIndex + 1)...].trimmed(strictness))
            return
        }
        guard strictness == .response, let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            self = .malformed
            return
        }
        // The rest after the token is white space, or not part of a name.
        let isBlank = line[name.endIndex..<colon].trimmed.isEmpty
        self = isBlank && !name.isEmpty ? .field(name: name, value: line[(colon + 1)...].trimmed) : .nameless
    }
}

/// The lines of a head one after another, each without its end. A bare LF ends a line too (RFC 9112 §2.2).
struct HeadLines {
    private let raw: UnsafeRawBufferPointer
    private var position = 0
    private let strictness: Strictness

    init(_ raw: UnsafeRawBufferPointer, _ strictness: Strictness) {
        self.raw = raw
        self.strictness = strictness
    }

    /// The next line, of a response with the lines that continue it (RFC 9112 §5.2); `nil` after the last one.
    mutating func next() -> HeadText? {
        guard position < raw.count else { return nil }
        let start = position
        var end: Int
        repeat {
            end = HeadLines.lineFeed(in: raw, from: position) ?? raw.count
            position = end + 1
        } while strictness == .response && start > 0 && isFolded
        let line = raw[start..<end]
        return line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }

    /// Whether the line at `position` begins with white space.
    private var isFolded: Bool { position < raw.count && (raw[position] == 0x20 || raw[position] == 0x09) }

    /// Where the next LF is.
    static func lineFeed(in raw: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard start < raw.count, let base = raw.baseAddress, let found = memchr(base + start, 0x0A, raw.count - start) else { return nil }
        return UnsafeRawPointer(found) - base
    }
}

/// Where a head ends: at its first empty line (RFC 9112 §2.1).
enum HeadEnd: Equatable {
    /// More bytes are needed. The next search can begin after `scanned` bytes.
    case incomplete(scanned: Int)
    /// The lines take `lines` bytes, and `total` with the empty line.
    case found(lines: Int, total: Int)

    /// Searches the received bytes.
    /// - Parameter scanned: the result of the last search.
    init(in raw: UnsafeRawBufferPointer, scanned: Int) {
        var position = scanned
        while let newline = HeadLines.lineFeed(in: raw, from: position) {
            position = newline
            guard newline + 1 < raw.count else { break }
            let afterReturn = raw[newline + 1] == UInt8(ascii: "\r") ? newline + 2 : newline + 1
            guard afterReturn < raw.count else { break }
            guard raw[afterReturn] == UInt8(ascii: "\n") else {
                position = newline + 1
                continue
            }
            self = .found(lines: newline + 1, total: afterReturn + 1)
            return
        }
        // The rest has no line feed, so it need not be searched again.
        if HeadLines.lineFeed(in: raw, from: position) == nil { position = raw.count }
        self = .incomplete(scanned: position)
    }
}

/// How strictly a message is read. Requests may come from attackers, so ambiguous ones are refused. Responses come from targets in the
/// configuration, so they are read, as Prometheus does, if they can be read in only one way.
///
/// | what | in a request | in a response | RFC |
/// |---|---|---|---|
/// | a line that ends in a bare LF, in a head | read | read | 9112 §2.2 |
/// | empty lines before the message | skipped | `it does not begin with HTTP/` | 9112 §2.2 |
/// | a first byte that cannot begin a message | 400 `not an HTTP request` | `it does not begin with HTTP/` | 9112 §3, §4 |
/// | more than one space in the first line | 400 `malformed request line` | read | 9112 §3, §4 |
/// | HTTP/1.2 to HTTP/1.9 | read as HTTP/1.1 | read as HTTP/1.1 | 9110 §2.5 |
/// | another major version | 505 `unsupported HTTP version: use HTTP/1.1` | `unsupported version` | 9110 §2.5 |
/// | white space before a field's colon | 400 `malformed header line` | removed | 9112 §5.1 |
/// | a folded field line | 400 `malformed header line` | joined with a space | 9112 §5.2 |
/// | a field name that is not a token | 400 `malformed header line` | the field is ignored | 9112 §5.1 |
/// | a line without a colon | 400 `malformed header line` | `malformed header line` | 9112 §5 |
/// | a control character in a field that is used | 400 `a header has a control character` | `a header has a control character` | 9110 §5.5 |
/// | a control character in any other field | 400 `a header has a control character` | ignored | 9110 §5.5 |
/// | `Content-Length` twice, the same | 400 `more than one Content-Length` | read | 9112 §6.3 |
/// | `Content-Length` that differs or is not a number | 400 `malformed Content-Length` | `invalid Content-Length`, if it is needed | 9112 §6.3 |
/// | `Transfer-Encoding: chunked` and `Content-Length` | 400 `both Transfer-Encoding and Content-Length` | chunked; the connection ends | 9112 §6.3 |
/// | `Transfer-Encoding` in HTTP/1.0 | 400 `unexpected Transfer-Encoding` | read; the connection ends | 9112 §6.1 |
/// | another `Transfer-Encoding` | 501 `unsupported Transfer-Encoding: use chunked` | read until the end, for the caller to judge | 9112 §6.1 |
/// | `Host` that is missing or repeated | 400 `the Host header is missing`, `more than one Host header` | | 9112 §3.2 |
/// | a chunk line that ends in a bare LF | 400 `malformed chunked body` | read | 9112 §7.1 |
/// | a chunk size that is followed by anything but blanks and `;` | 400 `malformed chunk size` | `invalid chunk size` | 9112 §7.1 |
/// | a control character in a chunk extension | 400 `malformed chunked body` | ignored | 9112 §7.1.1 |
enum Strictness {
    case request
    case response
}
