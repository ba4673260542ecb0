import Glibc
public import NIOCore

/// The parts of one request's head that the connection and the routes need. Its framing was checked.
public struct RequestHead: Equatable, Sendable {
    /// The method.
    public var method: Request.Method
    /// The request target as it was sent.
    public var target: String
    /// HTTP/1.0. Otherwise HTTP/1.1, or a later minor version of it.
    public var isHTTP10: Bool
    /// Whether the client lets the connection stay open.
    public var keepsAlive: Bool
    /// Whether the client waits for `100 Continue` before it sends the body.
    public var expectsContinue = false
    /// Where the body ends; never `.untilEnd`.
    public var framing = BodyFraming.none
    /// The value of `Host`; `nil` without one. Of the fields below that are lists, repeated ones are joined by `, `.
    public var host: String?
    /// The value of `Accept`.
    public var accept: String?
    /// The value of `Accept-Encoding`.
    public var acceptEncoding: String?
    /// The value of `Authorization`.
    public var authorization: String?
    /// The value of `Content-Type`.
    public var contentType: String?
    /// The value of `Content-Encoding`.
    public var contentEncoding: String?
    /// The value of `Origin`.
    public var origin: String?
    /// The value of `Sec-Fetch-Site`.
    public var fetchSite: String?
    /// The value of `Request.instanceField`.
    public var instance: String?

    /// A head without fields.
    public init(method: Request.Method, target: String, isHTTP10: Bool = false) {
        self.method = method
        self.target = target
        self.isHTTP10 = isHTTP10
        keepsAlive = !isHTTP10
    }
}

/// A request that cannot be read any further. It gets this answer, and the connection ends.
public struct RequestError: Error, Equatable, Sendable {
    /// The status to answer with.
    public let status: Int
    /// What is wrong with the request, for the client.
    public let reason: String

    /// Whether the client has ended its side within the request.
    public var isTruncated = false
    /// Whether the body stopped arriving. Otherwise it arrived too slowly.
    public var isStalled = false

    init(_ status: Int, _ reason: String) {
        self.status = status
        self.reason = reason
    }

    /// The request is not complete in its time.
    static func timeout(isStalled: Bool) -> RequestError {
        var error = RequestError(408, "the request took too long")
        error.isStalled = isStalled
        return error
    }

    /// The client has ended its side within the request.
    static let truncated = {
        var error = RequestError(400, "the connection ended within the request")
        error.isTruncated = true
        return error
    }()
}

/// Reads HTTP/1 requests from the bytes of a connection (RFC 9112). `Strictness` lists what it accepts and refuses.
public struct RequestDecoder: Sendable {
    /// The request line, without its end, in bytes.
    static let maxRequestLine = 8 << 10
    /// The whole head, with the empty line, in bytes.
    static let maxHead = 16 << 10
    /// Header fields of one request.
    static let maxFields = 100

    /// One part of a request.
    public enum Event: Equatable, Sendable {
        /// More bytes are needed.
        case incomplete
        /// A complete head. The body comes next, if there is one.
        case head(RequestHead)
        /// The next piece of the body, as a slice of the bytes.
        case body(ByteBuffer)
        /// The end of the request.
        case end
    }

    private enum State {
        /// The first `scanned` bytes do not contain the end of the head.
        case head(scanned: Int)
        case body(BodyDecoder)
        case failed(RequestError)
    }

    private let maxBody: Int
    private var state = State.head(scanned: 0)

    /// - Parameter maxBody: the largest body that is read, in bytes as they are sent; a larger one is refused with 413 as soon as its
    ///   size is known.
    public init(maxBody: Int) { self.maxBody = maxBody }

    /// Takes what it can from the front of `bytes`, which must begin with what was left the last time.
    /// - Throws: for a request that is malformed or beyond a limit; nothing more can be read then.
    public mutating func next(_ bytes: inout ByteBuffer) throws(RequestError) -> Event {
        do throws(RequestError) {
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

    private mutating func nextPiece(_ bytes: inout ByteBuffer, of body: BodyDecoder) throws(RequestError) -> Event {
        var body = body
        let step: BodyDecoder.Step
        do throws(ChunkedBody.Malformed) {
            step = try body.next(&bytes)
        } catch {
            throw RequestError(400, error == .size ? "malformed chunk size" : "malformed chunked body")
        }
        // Checked as soon as a chunk announces its size.
        guard body.announced <= maxBody else { throw Self.bodyTooLarge }
        switch step {
        case .incomplete:
            state = .body(body)
            return .incomplete
        case .data(let piece):
            state = .body(body)
            return .body(piece)
        case .end:
            state = .head(scanned: 0)
            return .end
        }
    }

    private static let bodyTooLarge = RequestError(413, "the request's body is too large")

    // MARK: - Heads

    private mutating func nextHead(_ bytes: inout ByteBuffer, scanned: Int) throws(RequestError) -> Event {
        if scanned == 0 {
            Self.skipEmptyLines(&bytes)
            // Refuse another protocol at once, because its client may never send the end of a line.
            if let first = bytes.readableBytesView.first, !Token.isTokenByte(first) {
                throw RequestError(400, "not an HTTP request")
            }
        }
        let found = bytes.withUnsafeReadableBytes { raw in Self.findHead(raw, scanned: scanned) }
        switch try found.get() {
        case .incomplete(let scanned):
            state = .head(scanned: scanned)
            return .incomplete
        case .complete(let head, let length):
            if case .length(let length) = head.framing, length > maxBody { throw Self.bodyTooLarge }
            bytes.moveReaderIndex(forwardBy: length)
            state = .body(BodyDecoder(head.framing, .request))
            return .head(head)
        }
    }

    /// Empty lines before a request are skipped (RFC 9112 §2.2).
    private static func skipEmptyLines(_ bytes: inout ByteBuffer) {
        let count = bytes.readableBytesView.prefix { $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") }.count
        bytes.moveReaderIndex(forwardBy: count)
    }

    private enum Found {
        case incomplete(scanned: Int)
        case complete(RequestHead, length: Int)
    }

    private static func findHead(_ raw: UnsafeRawBufferPointer, scanned: Int) -> Result<Found, RequestError> {
        let tooLong = RequestError(431, "the request's head is longer than \(maxHead) bytes")
        switch HeadEnd(in: raw, scanned: scanned) {
        case .found(let lines, let total):
            guard total <= maxHead else { return .failure(isRequestLineTooLong(raw) ?? tooLong) }
            do throws(RequestError) {
                var reader = RequestHeadReader(UnsafeRawBufferPointer(rebasing: raw[..<lines]))
                return .success(.complete(try reader.read(), length: total))
            } catch {
                return .failure(error)
            }
        case .incomplete(let scanned):
            if raw.count > maxRequestLine, let error = isRequestLineTooLong(raw) { return .failure(error) }
            if raw.count >= maxHead { return .failure(tooLong) }
            return .success(.incomplete(scanned: scanned))
        }
    }

    private static func isRequestLineTooLong(_ raw: UnsafeRawBufferPointer) -> RequestError? {
        let end = HeadLines.lineFeed(in: raw, from: 0) ?? raw.count
        let length = end > 0 && raw[end - 1] == UInt8(ascii: "\r") ? end - 1 : end
        return length > maxRequestLine ? RequestError(414, "the request line is longer than \(maxRequestLine) bytes") : nil
    }
}

/// Parses the bytes of one complete head: request line and header fields, each line with its end.
private struct RequestHeadReader {
    private var lines: HeadLines
    private var contentLength: Int?
    private var isChunked = false
    private var isHostSeen = false
    /// Whether `Connection` has `close`, which wins over `keep-alive`.
    private var isClosing = false

    init(_ raw: UnsafeRawBufferPointer) {
        lines = HeadLines(raw, .request)
    }

    mutating func read() throws(RequestError) -> RequestHead {
        var head = try readRequestLine(lines.next())
        var count = 0
        while let line = lines.next() {
            count += 1
            guard count <= RequestDecoder.maxFields else {
                throw RequestError(431, "the request has more than \(RequestDecoder.maxFields) headers")
            }
            try readField(line, into: &head)
        }
        try settleFraming(&head)
        return head
    }

    // MARK: - Request line (RFC 9112 §3)

    private func readRequestLine(_ line: HeadText?) throws(RequestError) -> RequestHead {
        let malformed = RequestError(400, "malformed request line")
        guard let line else { throw malformed }
        guard line.count <= RequestDecoder.maxRequestLine else {
            throw RequestError(414, "the request line is longer than \(RequestDecoder.maxRequestLine) bytes")
        }
        let method = line.prefix { Token.isTokenByte($0) }
        var rest = line[method.endIndex...]
        guard !method.isEmpty, rest.popFirst() == UInt8(ascii: " ") else { throw malformed }
        let target = rest.prefix { $0 > 0x20 && $0 != 0x7F }
        rest = rest[target.endIndex...]
        guard !target.isEmpty, rest.popFirst() == UInt8(ascii: " ") else { throw malformed }
        let isHTTP10 = try Self.readVersion(rest)
        guard let targetText = String(validating: target, as: UTF8.self) else {
            throw RequestError(400, "the request target is not valid UTF-8")
        }
        return RequestHead(method: Request.Method(method), target: targetText, isHTTP10: isHTTP10)
    }

    /// - Returns: whether it is HTTP/1.0.
    private static func readVersion(_ text: HeadText) throws(RequestError) -> Bool {
        let malformed = RequestError(400, "malformed request line")
        guard text.count == 8, text.prefix(5).matches("HTTP/", ignoringCase: false), text[text.startIndex + 6] == UInt8(ascii: ".") else {
            throw malformed
        }
        let major = text[text.startIndex + 5]
        let minor = text[text.startIndex + 7]
        guard isdigit(CInt(major)) != 0, isdigit(CInt(minor)) != 0 else { throw malformed }
        guard major == UInt8(ascii: "1") else { throw RequestError(505, "unsupported HTTP version: use HTTP/1.1") }
        return minor == UInt8(ascii: "0")
    }

    // MARK: - Header fields (RFC 9112 §5)

    private mutating func readField(_ line: HeadText, into head: inout RequestHead) throws(RequestError) {
        guard case .field(let name, let value) = HeadField(line, .request) else { throw RequestError(400, "malformed header line") }
        guard value.isFieldValue else { throw RequestError(400, "a header has a control character") }
        // By length first: most fields are not used.
        switch name.count {
        case 4 where name.matches("host"):
            guard !isHostSeen else { throw RequestError(400, "more than one Host header") }
            isHostSeen = true
            head.host = try Self.text(value)
        case 6 where name.matches("accept"):
            try Self.append(value, to: &head.accept)
        case 6 where name.matches("origin"):
            try Self.append(value, to: &head.origin)
        case 6 where name.matches("expect"):
            guard value.matches("100-continue") else { throw RequestError(417, "unknown expectation") }
            head.expectsContinue = !head.isHTTP10
        case 10 where name.matches("connection"):
            readConnection(value, into: &head)
        case 12 where name.matches("content-type"):
            try Self.append(value, to: &head.contentType)
        case 13 where name.matches("authorization"):
            guard head.authorization == nil else { throw RequestError(400, "more than one Authorization header") }
            head.authorization = try Self.text(value)
        case 14 where name.matches("content-length"):
            try readContentLength(value)
        case 14 where name.matches("sec-fetch-site"):
            try Self.append(value, to: &head.fetchSite)
        case 15 where name.matches("accept-encoding"):
            try Self.append(value, to: &head.acceptEncoding)
        case 16 where name.matches("content-encoding"):
            try Self.append(value, to: &head.contentEncoding)
        case 17 where name.matches("transfer-encoding"):
            guard !head.isHTTP10, !isChunked else { throw RequestError(400, "unexpected Transfer-Encoding") }
            guard value.matches("chunked") else { throw RequestError(501, "unsupported Transfer-Encoding: use chunked") }
            isChunked = true
        case 25 where name.matches("x-exporter-proxy-instance"):
            head.instance = try Self.text(value)
        default: break
        }
    }

    private mutating func readConnection(_ value: HeadText, into head: inout RequestHead) {
        for option in value.split(separator: UInt8(ascii: ",")) {
            let option = option.trimmed
            if option.matches("close") {
                head.keepsAlive = false
                isClosing = true
            } else if option.matches("keep-alive"), !isClosing {
                head.keepsAlive = true
            }
        }
    }

    /// Exactly one number: anything else may be request smuggling (RFC 9112 §6.3).
    private mutating func readContentLength(_ value: HeadText) throws(RequestError) {
        guard contentLength == nil else { throw RequestError(400, "more than one Content-Length") }
        guard let length = value.decimal else { throw RequestError(400, "malformed Content-Length") }
        contentLength = length
    }

    private func settleFraming(_ head: inout RequestHead) throws(RequestError) {
        if isChunked {
            guard contentLength == nil else { throw RequestError(400, "both Transfer-Encoding and Content-Length") }
            head.framing = .chunked
        } else if let contentLength, contentLength > 0 {
            head.framing = .length(contentLength)
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

extension Request.Method {
    /// Method names are case-sensitive (RFC 9110 §9.1).
    fileprivate init(_ name: HeadText) {
        switch name.count {
        case 3 where name.matches("GET", ignoringCase: false): self = .get
        case 3 where name.matches("PUT", ignoringCase: false): self = .put
        case 4 where name.matches("HEAD", ignoringCase: false): self = .head
        case 4 where name.matches("POST", ignoringCase: false): self = .post
        case 6 where name.matches("DELETE", ignoringCase: false): self = .delete
        default: self = .other(String(decoding: name, as: UTF8.self))
        }
    }
}
