import NIOCore

/// Reads HTTP/1 requests from the bytes of a connection (RFC 9112): heads are checked strictly, bodies are counted and thrown away.
///
/// Strict where a lenient reading could be understood in two ways; lenient only in that a line may end in a bare LF (§2.2).
struct RequestParser {
    /// The request line, without its end.
    static let maxRequestLine = 8 << 10
    /// The whole head, with the empty line.
    static let maxHead = 16 << 10
    static let maxHeaders = 100
    /// No route takes a body: what comes is read past, up to this.
    static let maxBody = 64 << 10

    enum Step: Equatable {
        /// More bytes are needed.
        case incomplete
        /// A head, complete; its body is read next.
        case head(RequestHead)
        /// The end of the request that the last head began.
        case end
    }

    private enum State {
        /// The bytes looked at without finding the end of the head.
        case head(scanned: Int)
        case body(left: Int)
        case chunks(ChunkedBody)
    }

    private var state = State.head(scanned: 0)

    /// Takes what it can from the front of `bytes`, which must hold what was left the last time.
    /// - Throws: for a request that is malformed or beyond a limit; nothing more can be read then.
    mutating func next(_ bytes: inout ByteBuffer) throws(RequestError) -> Step {
        while true {
            switch state {
            case .head(let scanned):
                return try nextHead(&bytes, scanned: scanned)
            case .body(let left):
                let taken = min(left, bytes.readableBytes)
                bytes.moveReaderIndex(forwardBy: taken)
                guard taken == left else {
                    state = .body(left: left - taken)
                    return .incomplete
                }
                return end()
            case .chunks(var body):
                let step = try Self.nextChunk(&bytes, of: &body)
                state = .chunks(body)
                switch step {
                case .data: continue
                case .incomplete: return .incomplete
                case .end: return end()
                }
            }
        }
    }

    private mutating func end() -> Step {
        state = .head(scanned: 0)
        return .end
    }

    private static func nextChunk(_ bytes: inout ByteBuffer, of body: inout ChunkedBody) throws(RequestError) -> ChunkedBody.Step {
        do throws(ChunkedBody.Malformed) {
            let step = try body.next(&bytes)
            // As soon as a chunk says how large it is.
            if body.announced <= maxBody { return step }
        } catch {
            throw RequestError(400, error == .size ? "malformed chunk size" : "malformed chunked body")
        }
        throw RequestError(413, "the request's body is too large")
    }

    // MARK: - Heads

    private mutating func nextHead(_ bytes: inout ByteBuffer, scanned: Int) throws(RequestError) -> Step {
        if scanned == 0 {
            Self.skipEmptyLines(&bytes)
            // Whoever speaks something else, a sender of pushes say, learns it at once, although there may never be the end of a line.
            if let first = bytes.readableBytesView.first, !HeadText.isTokenByte(first) {
                throw RequestError(400, "this is no HTTP request")
            }
        }
        let result = bytes.withUnsafeReadableBytes { raw in Self.findHead(raw, scanned: scanned) }
        switch result {
        case .failure(let error):
            throw error
        case .success(.incomplete(let scanned)):
            state = .head(scanned: scanned)
            return .incomplete
        case .success(.complete(let head, let length)):
            bytes.moveReaderIndex(forwardBy: length)
            state =
                switch head.body {
                case .none: .body(left: 0)
                case .length(let length): .body(left: length)
                case .chunked: .chunks(ChunkedBody())
                }
            return .head(head)
        }
    }

    /// Empty lines before a request are passed over (RFC 9112 §2.2).
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
