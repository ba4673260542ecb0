import Glibc
public import NIOCore

/// Where a message's body ends (RFC 9112 §6.3).
public enum BodyFraming: Equatable, Sendable {
    case none
    case length(Int)
    case chunked
    /// At the end of the connection; only in responses.
    case untilEnd
}

/// Reads one body, however it is framed.
struct BodyDecoder {
    enum Step: Equatable {
        /// More bytes are needed.
        case incomplete
        case data(ByteBuffer)
        /// The body is complete. A body that ends with the connection never gets here.
        case end
    }

    private enum State {
        case length(left: Int)
        case chunks(ChunkedBody)
        case untilEnd
    }

    private var state: State

    init(_ framing: BodyFraming, _ strictness: Strictness) {
        state =
            switch framing {
            case .none: .length(left: 0)
            case .length(let length): .length(left: length)
            case .chunked: .chunks(ChunkedBody(strictness))
            case .untilEnd: .untilEnd
            }
    }

    /// The sizes of all chunks begun so far, in bytes: known before their data comes.
    var announced: Int { if case .chunks(let body) = state { body.announced } else { 0 } }

    /// Consumes bytes from the front of `bytes`, which must begin with what the last call left.
    mutating func next(_ bytes: inout ByteBuffer) throws(ChunkedBody.Malformed) -> Step {
        switch state {
        case .length(let left):
            guard left > 0 else { return .end }
            guard let piece = Self.take(left, from: &bytes) else { return .incomplete }
            state = .length(left: left - piece.readableBytes)
            return .data(piece)
        case .untilEnd:
            return Self.take(.max, from: &bytes).map { .data($0) } ?? .incomplete
        case .chunks(var body):
            let step = try body.next(&bytes)
            state = .chunks(body)
            return step
        }
    }

    /// At most `most` bytes; `nil` when there are none.
    fileprivate static func take(_ most: Int, from bytes: inout ByteBuffer) -> ByteBuffer? {
        bytes.readableBytes > 0 ? bytes.readSlice(length: min(most, bytes.readableBytes)) : nil
    }
}

/// Reads a chunked body (RFC 9112 §7.1). It returns the data and skips extensions and trailers.
struct ChunkedBody {
    /// A chunk's size with its extensions, in bytes.
    static let maxSizeLine = 256
    /// All trailers together, in bytes.
    static let maxTrailers = 8 << 10

    /// A body that cannot be read any further.
    enum Malformed: Error, Equatable {
        case size
        /// Another fault in its framing.
        case framing
    }

    private enum State {
        case size
        case data(left: Int)
        case dataEnd
        case trailers(left: Int)
    }

    private var state = State.size
    private let strictness: Strictness
    /// The sizes of all chunks begun so far, in bytes.
    private(set) var announced = 0

    init(_ strictness: Strictness) { self.strictness = strictness }

    mutating func next(_ bytes: inout ByteBuffer) throws(Malformed) -> BodyDecoder.Step {
        while true {
            switch state {
            case .size:
                guard let line = try takeLine(&bytes, limit: Self.maxSizeLine, { Self.size($0, strictness) }) else { return .incomplete }
                let size = try line.get()
                (announced, _) = announced.addingReportingOverflow(size)
                guard announced >= 0 else { throw .size }
                state = size == 0 ? .trailers(left: Self.maxTrailers) : .data(left: size)
            case .data(let left):
                guard let data = BodyDecoder.take(left, from: &bytes) else { return .incomplete }
                state = data.readableBytes == left ? .dataEnd : .data(left: left - data.readableBytes)
                return .data(data)
            case .dataEnd:
                guard let isEmpty = try takeLine(&bytes, limit: 2, \.isEmpty) else { return .incomplete }
                guard isEmpty else { throw .framing }
                state = .size
            case .trailers(let left):
                guard let length = try takeLine(&bytes, limit: left, \.count) else { return .incomplete }
                if length == 0 { return .end }
                state = .trailers(left: left - length - 1)
            }
        }
    }

    /// Passes the next line, without its end, to `read`, and consumes it.
    /// - Returns: `nil` when the line is not complete.
    private func takeLine<Result>(
        _ bytes: inout ByteBuffer, limit: Int, _ read: (HeadText) -> Result
    ) throws(Malformed) -> Result? {
        let strictness = strictness
        let line = bytes.withUnsafeReadableBytes { raw -> (length: Int, isTerminated: Bool, result: Result)? in
            guard let end = HeadLines.lineFeed(in: raw, from: 0) else { return nil }
            var line = raw[..<end]
            let hasReturn = line.last == UInt8(ascii: "\r")
            if hasReturn { line = line.dropLast() }
            // Another reader may not take a bare LF or CR for the end of a line, so such a line would be ambiguous.
            let isTerminated = strictness == .response || (hasReturn && line.isFieldValue)
            return (end, isTerminated, read(line))
        }
        guard (line?.length ?? bytes.readableBytes) <= limit else { throw .framing }
        guard let line else { return nil }
        guard line.isTerminated else { throw .framing }
        bytes.moveReaderIndex(forwardBy: line.length + 1)
        return line.result
    }

    /// Hexadecimal digits, then nothing, or blanks and an extension.
    private static func size(_ line: HeadText, _ strictness: Strictness) -> Result<Int, Malformed> {
        let digits = line.prefix { isxdigit(CInt($0)) != 0 }
        let rest = line[digits.endIndex...].trimmed
        // Fifteen digits do not overflow. The limit of the body is checked later.
        guard (1...15).contains(digits.count), rest.isEmpty || rest.first == UInt8(ascii: ";"),
            let size = Int(String(decoding: digits, as: UTF8.self), radix: 16)
        else { return .failure(.size) }
        return .success(size)
    }
}

/// Bytes that were read from a peer and not consumed yet. Consumed bytes are dropped when all are consumed, and at the latest before the
/// storage grows.
public struct PendingBytes: Sendable {
    /// The bytes. Decoders take them from the front.
    public var bytes = ByteBuffer()

    /// No bytes.
    public init() {}

    /// Their memory in bytes: that of the storage, not only of the readable bytes.
    public var held: Int { bytes.readableBytes == 0 ? 0 : bytes.storageCapacity }

    /// Whether every byte is consumed.
    public var isEmpty: Bool { bytes.readableBytes == 0 }

    /// Adds bytes. Their storage is used as it is when no other bytes are waiting.
    public mutating func append(_ more: consuming ByteBuffer) {
        guard bytes.readableBytes > 0 else {
            bytes = more
            return
        }
        // Growing the storage would keep the consumed bytes at its front.
        if more.readableBytes > bytes.writableBytes { bytes.discardReadBytes() }
        bytes.writeBuffer(&more)
    }

    /// Releases the storage when all bytes are consumed, so that the channel can use it for its next read.
    public mutating func releaseIfEmpty() {
        if bytes.readableBytes == 0 { bytes = ByteBuffer() }
    }
}
