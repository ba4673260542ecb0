import HTTP
import Proxy

/// Takes the bytes of one complete response head apart: status line and header fields, each line still with its end.
struct ResponseHeadReader {
    /// Of the peer's words after the status, in bytes.
    private static let maxReason = 64

    private var lines: HeadLines
    private var contentLength: Int?
    private var isHTTP10 = false
    private var isClosing = false
    private var isKeptAlive = false

    init(_ raw: UnsafeRawBufferPointer) {
        lines = HeadLines(raw)
    }

    /// - Throws: `.notHTTP`.
    mutating func read() throws(PollFailure) -> FramedResponseHead {
        var fields = try readStatusLine(lines.next())
        while let line = lines.next() {
            guard let (name, value) = line.field else { throw .notHTTP("malformed header line") }
            guard value.isFieldValue else { throw .notHTTP("a header has a control character") }
            try read(name, value, into: &fields)
        }
        let framing = try framing(of: fields)
        let keepsAlive = !isClosing && (!isHTTP10 || (isKeptAlive && fields.transferEncoding == nil)) && framing != .untilEnd
        return FramedResponseHead(fields: fields, framing: framing, keepsAlive: keepsAlive && fields.status != 101)
    }

    // MARK: - Status line (RFC 9112 §4)

    private mutating func readStatusLine(_ line: HeadText?) throws(PollFailure) -> PollResponseHead {
        guard let line, line.prefix(5).matches("HTTP/", ignoringCase: false) else { throw .notHTTP("it does not begin with HTTP/") }
        let version = line.dropFirst(5).prefix(4)
        guard version.matches("1.1 ") || version.matches("1.0 ") else { throw .notHTTP("unsupported version") }
        isHTTP10 = version.matches("1.0 ")
        let code = line.dropFirst(9).prefix(3)
        let rest = line.dropFirst(12)
        guard code.count == 3, let status = code.decimal, status >= 100, rest.isEmpty || rest.first == UInt8(ascii: " ") else {
            throw .notHTTP("invalid status")
        }
        let words = rest.trimmed.prefix(Self.maxReason)
        // Of a server without words for it the code's usual ones are shown.
        return PollResponseHead(
            status: status, reason: words.isEmpty ? Response.reasonPhrase(status) : String(decoding: words, as: UTF8.self))
    }

    // MARK: - Header fields

    private mutating func read(_ name: HeadText, _ value: HeadText, into fields: inout PollResponseHead) throws(PollFailure) {
        // By length first: most fields are none of ours.
        switch name.count {
        case 8 where name.matches("location"):
            fields.location = fields.location ?? Self.text(value)
        case 10 where name.matches("connection"):
            for option in value.split(separator: UInt8(ascii: ",")) {
                if option.trimmed.matches("close") { isClosing = true }
                if option.trimmed.matches("keep-alive") { isKeptAlive = true }
            }
        case 12 where name.matches("content-type"):
            Self.append(value, to: &fields.contentType)
        case 14 where name.matches("content-length"):
            // Repeated, it must say the same (RFC 9112 §6.3).
            guard let length = value.decimal, contentLength ?? length == length else { throw .notHTTP("invalid Content-Length") }
            contentLength = length
        case 16 where name.matches("content-encoding"):
            Self.append(value, to: &fields.contentEncoding)
        case 17 where name.matches("transfer-encoding"):
            Self.append(value, to: &fields.transferEncoding)
        default: break
        }
    }

    private func framing(of fields: PollResponseHead) throws(PollFailure) -> FramedResponseHead.Framing {
        if fields.status < 200 || fields.status == 204 || fields.status == 304 { return .none }
        if let transferEncoding = fields.transferEncoding {
            // Two lengths could be read in two ways (RFC 9112 §6.3).
            guard contentLength == nil else { throw .notHTTP("both Transfer-Encoding and Content-Length") }
            return fields.isChunkedLast(transferEncoding) ? .chunked : .untilEnd
        }
        return contentLength.map { .length($0) } ?? .untilEnd
    }

    // MARK: - Bytes

    private static func text(_ value: HeadText) -> String { String(decoding: value, as: UTF8.self) }

    /// Several fields of one name are one list (RFC 9110 §5.3).
    private static func append(_ value: HeadText, to list: inout String?) {
        list = list.map { "\($0), \(text(value))" } ?? text(value)
    }
}

extension PollResponseHead {
    /// Whether the body comes in chunks, whatever else was done to it before.
    fileprivate func isChunkedLast(_ transferEncoding: String) -> Bool {
        let last = transferEncoding.utf8.split(separator: UInt8(ascii: ",")).last ?? Substring().utf8
        let word = last.drop { $0 == 0x20 || $0 == 0x09 }
        return word.count == 7 && zip(word, "chunked".utf8).allSatisfy { $0 | 0x20 == $1 }
    }
}
