import Glibc
import HTTP

/// Takes the bytes of one complete head apart: request line and header fields, each line still with its end.
struct RequestHeadReader {
    private var lines: HeadLines
    private var contentLength: Int?
    private var isChunked = false
    private var isHostSeen = false
    /// Whether `Connection` says `close`, which wins over any `keep-alive` beside it.
    private var isClosing = false

    init(_ raw: UnsafeRawBufferPointer) {
        lines = HeadLines(raw)
    }

    mutating func read() throws(RequestError) -> RequestHead {
        var head = try readRequestLine(lines.next())
        var count = 0
        while let line = lines.next() {
            count += 1
            guard count <= RequestParser.maxHeaders else {
                throw RequestError(431, "the request has more than \(RequestParser.maxHeaders) headers")
            }
            try readField(line, into: &head)
        }
        try settleBody(&head)
        return head
    }

    // MARK: - Request line (RFC 9112 §3)

    private func readRequestLine(_ line: HeadText?) throws(RequestError) -> RequestHead {
        let malformed = RequestError(400, "malformed request line")
        guard let line else { throw malformed }
        guard line.count <= RequestParser.maxRequestLine else {
            throw RequestError(414, "the request line is longer than \(RequestParser.maxRequestLine) bytes")
        }
        let method = line.prefix { HeadText.isTokenByte($0) }
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
    private static func readVersion(_ text: HeadText) throws(RequestError) -> Bool {
        let name: StaticString = "HTTP/"
        guard text.count == 8, text.prefix(5).matches(name, ignoringCase: false), text[text.startIndex + 6] == UInt8(ascii: ".") else {
            throw RequestError(400, "malformed request line")
        }
        let major = text[text.startIndex + 5]
        let minor = text[text.startIndex + 7]
        guard isdigit(CInt(major)) != 0, isdigit(CInt(minor)) != 0 else { throw RequestError(400, "malformed request line") }
        guard major == UInt8(ascii: "1") else { throw RequestError(505, "HTTP/1.1 is spoken here") }
        return minor == UInt8(ascii: "0")
    }

    // MARK: - Header fields (RFC 9112 §5)

    private mutating func readField(_ line: HeadText, into head: inout RequestHead) throws(RequestError) {
        guard let (name, value) = line.field else { throw RequestError(400, "malformed header line") }
        guard value.isFieldValue else { throw RequestError(400, "a header has a control character") }
        // By length first: most headers are none of ours.
        switch name.count {
        case 4 where name.matches("host"):
            guard !isHostSeen else { throw RequestError(400, "more than one Host header") }
            isHostSeen = true
            head.host = try Self.text(value)
        case 6 where name.matches("accept"):
            try Self.append(value, to: &head.accept)
        case 6 where name.matches("expect"):
            guard value.matches("100-continue") else { throw RequestError(417, "unknown expectation") }
            head.expectsContinue = !head.isHTTP10
        case 6 where name.matches("origin"):
            try Self.append(value, to: &head.origin)
        case 10 where name.matches("connection"):
            for option in value.split(separator: UInt8(ascii: ",")) {
                let option = option.trimmed
                if option.matches("close") {
                    head.keepsAlive = false
                    isClosing = true
                } else if option.matches("keep-alive"), !isClosing {
                    head.keepsAlive = true
                }
            }
        case 13 where name.matches("authorization"):
            guard head.authorization == nil else { throw RequestError(400, "more than one Authorization header") }
            head.authorization = try Self.text(value)
        case 14 where name.matches("sec-fetch-site"):
            try Self.append(value, to: &head.fetchSite)
        case 14 where name.matches("content-length"):
            try readContentLength(value)
        case 15 where name.matches("accept-encoding"):
            try Self.append(value, to: &head.acceptEncoding)
        case 17 where name.matches("transfer-encoding"):
            guard !head.isHTTP10, !isChunked else { throw RequestError(400, "unexpected Transfer-Encoding") }
            guard value.matches("chunked") else { throw RequestError(501, "the only Transfer-Encoding known here is chunked") }
            isChunked = true
        case 25 where name.matches("x-exporter-proxy-instance"):
            head.instance = try Self.text(value)
        default: break
        }
    }

    /// One number, once: anything else may be an attempt to smuggle (RFC 9112 §6.3).
    private mutating func readContentLength(_ value: HeadText) throws(RequestError) {
        guard contentLength == nil else { throw RequestError(400, "more than one Content-Length") }
        guard let length = value.decimal else { throw RequestError(400, "malformed Content-Length") }
        contentLength = length
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

    private static func text(_ value: HeadText) throws(RequestError) -> String {
        guard let text = String(validating: value, as: UTF8.self) else { throw RequestError(400, "a header is not valid UTF-8") }
        return text
    }

    /// Several fields of one name are one list (RFC 9110 §5.3).
    private static func append(_ value: HeadText, to list: inout String?) throws(RequestError) {
        let text = try text(value)
        list = list.map { $0 + ", " + text } ?? text
    }
}
