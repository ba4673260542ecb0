import Glibc
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
    /// A chunk's size with its extensions; and all trailers together.
    private static let maxChunkLine = 256
    private static let maxTrailers = 8 << 10

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
        case chunkSize
        case chunkData(left: Int)
        case chunkEnd
        case trailers(left: Int)
    }

    private var state = State.head(scanned: 0)
    /// Body bytes of a chunked request so far.
    private var chunkedBytes = 0

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
            case .chunkSize:
                guard let line = try nextLine(&bytes, limit: Self.maxChunkLine) else { return .incomplete }
                let size = try Self.chunkSize(line)
                chunkedBytes += size
                guard chunkedBytes <= Self.maxBody else { throw RequestError(413, "the request's body is too large") }
                state = size == 0 ? .trailers(left: Self.maxTrailers) : .chunkData(left: size)
            case .chunkData(let left):
                let taken = min(left, bytes.readableBytes)
                bytes.moveReaderIndex(forwardBy: taken)
                guard taken == left else {
                    state = .chunkData(left: left - taken)
                    return .incomplete
                }
                state = .chunkEnd
            case .chunkEnd:
                guard let line = try nextLine(&bytes, limit: 2) else { return .incomplete }
                guard line.readableBytes == 0 else { throw RequestError(400, "malformed chunked body") }
                state = .chunkSize
            case .trailers(let left):
                guard let line = try nextLine(&bytes, limit: left) else { return .incomplete }
                if line.readableBytes == 0 { return end() }
                state = .trailers(left: left - line.readableBytes - 1)
            }
        }
    }

    private mutating func end() -> Step {
        state = .head(scanned: 0)
        chunkedBytes = 0
        return .end
    }

    // MARK: - Heads

    private mutating func nextHead(_ bytes: inout ByteBuffer, scanned: Int) throws(RequestError) -> Step {
        if scanned == 0 {
            Self.skipEmptyLines(&bytes)
            // Whoever speaks something else, a sender of pushes say, learns it at once, although there may never be the end of a line.
            if let first = bytes.readableBytesView.first, !RequestHeadReader.isTokenByte(first) {
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
                case .chunked: .chunkSize
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
        var position = scanned
        while let newline = lineFeed(in: raw, from: position) {
            position = newline
            guard newline + 1 < raw.count else { break }
            let afterReturn = raw[newline + 1] == UInt8(ascii: "\r") ? newline + 2 : newline + 1
            guard afterReturn < raw.count else { break }
            guard raw[afterReturn] == UInt8(ascii: "\n") else {
                position = newline + 1
                continue
            }
            let length = afterReturn + 1
            guard length <= maxHead else { return .failure(isRequestLineTooLong(raw) ?? tooLong) }
            do throws(RequestError) {
                var reader = RequestHeadReader(UnsafeRawBufferPointer(rebasing: raw[..<(newline + 1)]))
                return .success(.complete(try reader.read(), length: length))
            } catch {
                return .failure(error)
            }
        }
        if raw.count > maxRequestLine, let error = isRequestLineTooLong(raw) { return .failure(error) }
        if raw.count >= maxHead { return .failure(tooLong) }
        // Without a line feed in it, the rest need not be looked at again.
        if lineFeed(in: raw, from: position) == nil { position = raw.count }
        return .success(.incomplete(scanned: position))
    }

    private static func isRequestLineTooLong(_ raw: UnsafeRawBufferPointer) -> RequestError? {
        let end = lineFeed(in: raw, from: 0) ?? raw.count
        let length = end > 0 && raw[end - 1] == UInt8(ascii: "\r") ? end - 1 : end
        return length > maxRequestLine ? RequestError(414, "the request line is longer than \(maxRequestLine) bytes") : nil
    }

    private static func lineFeed(in raw: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard start < raw.count, let base = raw.baseAddress, let found = memchr(base + start, 0x0A, raw.count - start) else { return nil }
        return UnsafeRawPointer(found) - base
    }

    // MARK: - Chunked bodies (RFC 9112 §7.1)

    /// - Returns: the next line without its end; `nil` when it is not complete.
    private func nextLine(_ bytes: inout ByteBuffer, limit: Int) throws(RequestError) -> ByteBuffer? {
        let length = bytes.withUnsafeReadableBytes { Self.lineFeed(in: $0, from: 0) }
        guard (length ?? bytes.readableBytes) <= limit else { throw RequestError(400, "malformed chunked body") }
        guard let length, var line = bytes.readSlice(length: length) else { return nil }
        bytes.moveReaderIndex(forwardBy: 1)
        if line.readableBytesView.last == UInt8(ascii: "\r") { line = line.getSlice(at: line.readerIndex, length: length - 1) ?? line }
        return line
    }

    private static func chunkSize(_ line: ByteBuffer) throws(RequestError) -> Int {
        let digits = line.readableBytesView.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
        // Fifteen digits do not overflow; the limit on bodies comes after. A sign, which `Int` would take, is no digit.
        guard (1...15).contains(digits.count), digits.allSatisfy({ isxdigit(CInt($0)) != 0 }),
            let size = Int(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw RequestError(400, "malformed chunk size") }
        return size
    }
}
