public import NIOCore

/// The parts of one response's head that the connection and the poll need.
public struct ResponseHead: Equatable, Sendable {
    /// The status code (RFC 9110 §15).
    public var status: Int
    /// The server's reason phrase, at most 64 bytes. If the server sends none, the standard one; empty when the code has none.
    public var reason: String
    /// HTTP/1.0. Otherwise HTTP/1.1, or a later minor version of it.
    public var isHTTP10: Bool
    /// Where the body ends.
    public var framing = BodyFraming.untilEnd
    /// Whether the connection can be used again after this response.
    public var keepsAlive = true
    /// The value of `Content-Type`, of a repeated field joined by `, `; `nil` without one. Likewise the next ones.
    public var contentType: String?
    /// The value of `Content-Encoding`.
    public var contentEncoding: String?
    /// The value of `Transfer-Encoding`.
    public var transferEncoding: String?
    /// The value of `X-Exporter-Proxy-Instances`.
    public var instances: String?
    /// The first `Location`.
    public var location: String?

    /// A head without fields.
    public init(status: Int, reason: String, isHTTP10: Bool = false) {
        self.status = status
        self.reason = reason
        self.isHTTP10 = isHTTP10
    }

    /// Whether another head follows (RFC 9110 §15.2). After 101, which no request asks for, no HTTP follows.
    public var isInformational: Bool { (100..<200).contains(status) && status != 101 }
}

/// A response that cannot be read any further.
public enum ResponseError: Error, Equatable, Sendable {
    /// It is not HTTP, or it is ambiguous.
    case malformed(String)
    /// All heads of the response together are larger than this, in bytes.
    case headTooLarge(limit: Int)
}

/// Reads one HTTP/1 response from the bytes of a connection (RFC 9112): informational heads, the head, the pieces of its body.
/// `Strictness` lists what it accepts and refuses.
public struct ResponseDecoder: Sendable {
    /// The limit of all heads of a response together, with the informational ones, in bytes.
    public static let maxHead = 64 << 10

    /// One part of a response.
    public enum Event: Equatable, Sendable {
        /// More bytes are needed.
        case incomplete
        /// A complete head. If it is informational, another one follows.
        case head(ResponseHead)
        /// The next piece of the body, as a slice of the bytes.
        case body(ByteBuffer)
        /// The body is complete. One that ends with the connection never is.
        case end
    }

    private enum State {
        /// The first `scanned` bytes do not contain the end of the head.
        case head(scanned: Int)
        case body(BodyDecoder)
        case failed(ResponseError)
    }

    private var state = State.head(scanned: 0)
    /// Bytes of heads so far.
    private var headBytes = 0

    /// A decoder at the start of a response.
    public init() {}

    /// Takes what it can from the front of `bytes`, which must begin with what was left the last time.
    /// - Throws: for a response that cannot be read; nothing more can be read then.
    public mutating func next(_ bytes: inout ByteBuffer) throws(ResponseError) -> Event {
        do throws(ResponseError) {
            switch state {
            case .head(let scanned): return try nextHead(&bytes, scanned: scanned)
            case .body(let body): return try nextPiece(&bytes, of: body)
            case .failed(let error): throw error
            }
        } catch {
            state = .failed(error)
            throw error
        }
    }

    private mutating func nextPiece(_ bytes: inout ByteBuffer, of body: BodyDecoder) throws(ResponseError) -> Event {
        var body = body
        do throws(ChunkedBody.Malformed) {
            let step = try body.next(&bytes)
            state = .body(body)
            return switch step {
            case .incomplete: .incomplete
            case .data(let piece): .body(piece)
            case .end: .end
            }
        } catch {
            throw .malformed(error == .size ? "invalid chunk size" : "malformed chunk")
        }
    }

    // MARK: - Heads

    private mutating func nextHead(_ bytes: inout ByteBuffer, scanned: Int) throws(ResponseError) -> Event {
        let most = Self.maxHead - headBytes
        let found = bytes.withUnsafeReadableBytes { raw in Self.findHead(raw, scanned: scanned, most: most) }
        switch try found.get() {
        case .incomplete(let scanned):
            state = .head(scanned: scanned)
            return .incomplete
        case .complete(let head, let length):
            bytes.moveReaderIndex(forwardBy: length)
            headBytes += length
            state = head.isInformational ? .head(scanned: 0) : .body(BodyDecoder(head.framing, .response))
            return .head(head)
        }
    }

    private enum Found {
        case incomplete(scanned: Int)
        case complete(ResponseHead, length: Int)
    }

    private static func findHead(_ raw: UnsafeRawBufferPointer, scanned: Int, most: Int) -> Result<Found, ResponseError> {
        // A peer that speaks another protocol may never send an empty line.
        guard zip(raw, "HTTP/".utf8).allSatisfy({ $0 == $1 }) else { return .failure(.malformed("it does not begin with HTTP/")) }
        switch HeadEnd(in: raw, scanned: scanned) {
        case .found(let lines, let total) where total <= most:
            do throws(ResponseError) {
                var reader = ResponseHeadReader(UnsafeRawBufferPointer(rebasing: raw[..<lines]))
                return .success(.complete(try reader.read(), length: total))
            } catch {
                return .failure(error)
            }
        case .incomplete(let scanned) where raw.count <= most:
            return .success(.incomplete(scanned: scanned))
        case .found, .incomplete:
            return .failure(.headTooLarge(limit: maxHead))
        }
    }
}

/// Parses the bytes of one complete response head: status line and header fields, each line with its end.
private struct ResponseHeadReader {
    /// The limit of the reason phrase, in bytes.
    private static let maxReason = 64

    private enum ContentLength {
        case missing
        case valid(Int)
        /// Not a number, or two different ones. It matters only when nothing else determines the end of the body.
        case invalid
    }

    private var lines: HeadLines
    private var contentLength = ContentLength.missing
    private var isClosing = false
    private var isKeptAlive = false
    private var isChunked = false

    init(_ raw: UnsafeRawBufferPointer) {
        lines = HeadLines(raw, .response)
    }

    mutating func read() throws(ResponseError) -> ResponseHead {
        var head = try readStatusLine(lines.next())
        while let line = lines.next() {
            switch HeadField(line, .response) {
            case .field(let name, let value): try read(name, value, into: &head)
            case .nameless: break
            case .malformed: throw .malformed("malformed header line")
            }
        }
        head.framing = try framing(of: head)
        head.keepsAlive = keepsAlive(after: head)
        return head
    }

    // MARK: - Status line (RFC 9112 §4)

    private func readStatusLine(_ line: HeadText?) throws(ResponseError) -> ResponseHead {
        guard let line, line.prefix(5).matches("HTTP/", ignoringCase: false) else { throw .malformed("it does not begin with HTTP/") }
        let version = line.dropFirst(5).prefix(4)
        guard version.count == 4, version.prefix(2).matches("1."), let minor = version.dropFirst(2).prefix(1).decimal,
            version.last == UInt8(ascii: " ")
        else { throw .malformed("unsupported version") }
        let status = line.dropFirst(9).drop { $0 == UInt8(ascii: " ") }
        let rest = status.dropFirst(3)
        guard let code = status.prefix(3).decimal, code >= 100, rest.isEmpty || rest.first == UInt8(ascii: " ") else {
            throw .malformed("invalid status")
        }
        let words = rest.trimmed.prefix(Self.maxReason)
        let reason = words.isEmpty ? Response.reasonPhrase(code) : String(decoding: words, as: UTF8.self)
        return ResponseHead(status: code, reason: reason, isHTTP10: minor == 0)
    }

    // MARK: - Header fields

    private mutating func read(_ name: HeadText, _ value: HeadText, into head: inout ResponseHead) throws(ResponseError) {
        // By length first: most fields are not used.
        switch name.count {
        case 8 where name.matches("location"):
            if head.location == nil { head.location = try Self.text(value) }
        case 10 where name.matches("connection"):
            for option in value.split(separator: UInt8(ascii: ",")) {
                if option.trimmed.matches("close") { isClosing = true }
                if option.trimmed.matches("keep-alive") { isKeptAlive = true }
            }
        case 12 where name.matches("content-type"):
            try Self.append(value, to: &head.contentType)
        case 14 where name.matches("content-length"):
            readContentLength(value)
        case 16 where name.matches("content-encoding"):
            try Self.append(value, to: &head.contentEncoding)
        case 17 where name.matches("transfer-encoding"):
            try Self.append(value, to: &head.transferEncoding)
            isChunked = value.lastElementMatches("chunked")
        case 26 where name.matches("x-exporter-proxy-instances"):
            try Self.append(value, to: &head.instances)
        default: break
        }
    }

    /// If it is repeated, all values must be the same (RFC 9112 §6.3).
    private mutating func readContentLength(_ value: HeadText) {
        for element in value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            guard let length = element.trimmed.decimal else { return contentLength = .invalid }
            switch contentLength {
            case .missing: contentLength = .valid(length)
            case .valid(length): break
            case .valid, .invalid: contentLength = .invalid
            }
        }
    }

    private func framing(of head: ResponseHead) throws(ResponseError) -> BodyFraming {
        if head.status < 200 || head.status == 204 || head.status == 304 { return .none }
        // A length beside it does not count (RFC 9112 §6.3).
        if head.transferEncoding != nil { return isChunked ? .chunked : .untilEnd }
        switch contentLength {
        case .missing: return .untilEnd
        case .valid(let length): return .length(length)
        case .invalid: throw .malformed("invalid Content-Length")
        }
    }

    private func keepsAlive(after head: ResponseHead) -> Bool {
        if isClosing || head.framing == .untilEnd || head.status == 101 { return false }
        guard head.transferEncoding != nil else { return !head.isHTTP10 || isKeptAlive }
        // A proxy in between may have used the length (RFC 9112 §6.1, §6.3).
        if case .missing = contentLength { return !head.isHTTP10 }
        return false
    }

    // MARK: - Bytes

    /// A folded line's end becomes a space (RFC 9112 §5.2).
    private static func text(_ value: HeadText) throws(ResponseError) -> String {
        if value.isFieldValue { return String(decoding: value, as: UTF8.self) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(value.count)
        var rest = value
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\r"), rest.first == UInt8(ascii: "\n") { continue }
            guard (byte >= 0x20 && byte != 0x7F) || byte == 0x09 || byte == 0x0A else {
                throw .malformed("a header has a control character")
            }
            bytes.append(byte == 0x0A ? 0x20 : byte)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Several fields of one name are one list (RFC 9110 §5.3).
    private static func append(_ value: HeadText, to list: inout String?) throws(ResponseError) {
        let text = try text(value)
        list = list.map { "\($0), \(text)" } ?? text
    }
}
