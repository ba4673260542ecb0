import Glibc

/// Takes the bytes of one complete head apart: request line and header fields, each line still with its end.
struct RequestHeadReader {
    private let raw: UnsafeRawBufferPointer
    private var position = 0
    private var contentLength: Int?
    private var isChunked = false
    private var isHostSeen = false
    /// Whether `Connection` says `close`, which wins over any `keep-alive` beside it.
    private var isClosing = false

    init(_ raw: UnsafeRawBufferPointer) {
        self.raw = raw
    }

    mutating func read() throws(RequestError) -> RequestHead {
        var head = try readRequestLine(nextLine())
        var count = 0
        while position < raw.count {
            count += 1
            guard count <= RequestParser.maxHeaders else {
                throw RequestError(431, "the request has more than \(RequestParser.maxHeaders) headers")
            }
            try readField(nextLine(), into: &head)
        }
        try settleBody(&head)
        return head
    }

    private typealias Line = Slice<UnsafeRawBufferPointer>

    /// The next line, without its end.
    private mutating func nextLine() -> Line {
        let rest = raw[position...]
        let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? raw.count
        defer { position = min(end + 1, raw.count) }
        let line = rest[..<end]
        return line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }

    // MARK: - Request line (RFC 9112 §3)

    private func readRequestLine(_ line: Line) throws(RequestError) -> RequestHead {
        guard line.count <= RequestParser.maxRequestLine else {
            throw RequestError(414, "the request line is longer than \(RequestParser.maxRequestLine) bytes")
        }
        let malformed = RequestError(400, "malformed request line")
        let method = line.prefix { Self.isTokenByte($0) }
        var rest = line[method.endIndex...]
        guard !method.isEmpty, rest.popFirst() == UInt8(ascii: " ") else { throw malformed }
        let target = rest.prefix { $0 > 0x20 && $0 != 0x7F }
        rest = rest[target.endIndex...]
        guard !target.isEmpty, rest.popFirst() == UInt8(ascii: " ") else { throw malformed }
        let isHTTP10 = try Self.readVersion(rest)
        guard let targetText = String(validating: target, as: UTF8.self) else {
            throw RequestError(400, "the request target is not valid UTF-8")
        }
        return RequestHead(
            method: String(decoding: method, as: UTF8.self), target: targetText, isHTTP10: isHTTP10, keepsAlive: !isHTTP10)
    }

    /// - Returns: whether it is HTTP/1.0.
    private static func readVersion(_ text: Line) throws(RequestError) -> Bool {
        let name: StaticString = "HTTP/"
        guard text.count == 8, matches(text.prefix(5), name, ignoringCase: false), text[text.startIndex + 6] == UInt8(ascii: ".") else {
            throw RequestError(400, "malformed request line")
        }
        let major = text[text.startIndex + 5]
        let minor = text[text.startIndex + 7]
        guard isdigit(CInt(major)) != 0, isdigit(CInt(minor)) != 0 else { throw RequestError(400, "malformed request line") }
        guard major == UInt8(ascii: "1") else { throw RequestError(505, "HTTP/1.1 is spoken here") }
        return minor == UInt8(ascii: "0")
    }

    // MARK: - Header fields (RFC 9112 §5)

    private mutating func readField(_ line: Line, into head: inout RequestHead) throws(RequestError) {
        let name = line.prefix { Self.isTokenByte($0) }
        // White space before the colon, or at the line's begin, could be read in two ways (RFC 9112 §5.1, §5.2).
        guard !name.isEmpty, name.endIndex < line.endIndex, line[name.endIndex] == UInt8(ascii: ":") else {
            throw RequestError(400, "malformed header line")
        }
        let value = Self.trim(line[(name.endIndex + 1)...])
        guard value.allSatisfy({ ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }) else {
            throw RequestError(400, "a header has a control character")
        }
        // By length first: most headers are none of ours.
        switch name.count {
        case 4 where Self.matches(name, "host"):
            guard !isHostSeen else { throw RequestError(400, "more than one Host header") }
            isHostSeen = true
            head.host = try Self.text(value)
        case 6 where Self.matches(name, "accept"):
            try Self.append(value, to: &head.accept)
        case 6 where Self.matches(name, "expect"):
            guard Self.matches(value, "100-continue") else { throw RequestError(417, "unknown expectation") }
            head.expectsContinue = !head.isHTTP10
        case 10 where Self.matches(name, "connection"):
            for option in value.split(separator: UInt8(ascii: ",")) {
                let option = Self.trim(option)
                if Self.matches(option, "close") {
                    head.keepsAlive = false
                    isClosing = true
                } else if Self.matches(option, "keep-alive"), !isClosing {
                    head.keepsAlive = true
                }
            }
        case 13 where Self.matches(name, "authorization"):
            guard head.authorization == nil else { throw RequestError(400, "more than one Authorization header") }
            head.authorization = try Self.text(value)
        case 14 where Self.matches(name, "content-length"):
            try readContentLength(value)
        case 15 where Self.matches(name, "accept-encoding"):
            try Self.append(value, to: &head.acceptEncoding)
        case 17 where Self.matches(name, "transfer-encoding"):
            guard !head.isHTTP10, !isChunked else { throw RequestError(400, "unexpected Transfer-Encoding") }
            guard Self.matches(value, "chunked") else { throw RequestError(501, "the only Transfer-Encoding known here is chunked") }
            isChunked = true
        case 25 where Self.matches(name, "x-exporter-proxy-instance"):
            head.instance = try Self.text(value)
        default: break
        }
    }

    /// One number, once: anything else may be an attempt to smuggle (RFC 9112 §6.3).
    private mutating func readContentLength(_ value: Line) throws(RequestError) {
        guard contentLength == nil else { throw RequestError(400, "more than one Content-Length") }
        guard (1...18).contains(value.count), value.allSatisfy({ isdigit(CInt($0)) != 0 }) else {
            throw RequestError(400, "malformed Content-Length")
        }
        contentLength = value.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }

    private func settleBody(_ head: inout RequestHead) throws(RequestError) {
        if isChunked {
            guard contentLength == nil else { throw RequestError(400, "both Transfer-Encoding and Content-Length") }
            head.body = .chunked
        } else if let contentLength, contentLength > 0 {
            guard contentLength <= RequestParser.maxBody else { throw RequestError(413, "the request's body is too large") }
            head.body = .length(contentLength)
        }
        if !head.isHTTP10, !isHostSeen { throw RequestError(400, "the Host header is missing") }
    }

    // MARK: - Bytes

    private static func text(_ value: Line) throws(RequestError) -> String {
        guard let text = String(validating: value, as: UTF8.self) else { throw RequestError(400, "a header is not valid UTF-8") }
        return text
    }

    /// Several fields of one name are one list (RFC 9110 §5.3).
    private static func append(_ value: Line, to list: inout String?) throws(RequestError) {
        let text = try text(value)
        list = list.map { $0 + ", " + text } ?? text
    }

    private static func trim(_ line: Line) -> Line {
        var line = line.drop { $0 == 0x20 || $0 == 0x09 }
        while let last = line.last, last == 0x20 || last == 0x09 { line.removeLast() }
        return line
    }

    private static func matches(_ bytes: Line, _ lowercase: StaticString, ignoringCase: Bool = true) -> Bool {
        guard bytes.count == lowercase.utf8CodeUnitCount else { return false }
        var expected = lowercase.utf8Start
        for byte in bytes {
            let folded = ignoringCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
            guard folded == expected.pointee else { return false }
            expected += 1
        }
        return true
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
