import Glibc
import NIOCore

/// Reads a chunked body (RFC 9112 §7.1): its data comes out, extensions and trailers are passed over.
struct ChunkedBody {
    /// A chunk's size with its extensions, in bytes.
    static let maxSizeLine = 256
    /// All trailers together, in bytes.
    static let maxTrailers = 8 << 10

    enum Step: Equatable {
        /// More bytes are needed.
        case incomplete
        case data(ByteBuffer)
        /// The last chunk and the trailers are read.
        case end
    }

    /// A body that cannot be read any further.
    enum Malformed: Error, Equatable {
        case size
        /// Anything else about its framing.
        case framing
    }

    private enum State {
        case size
        case data(left: Int)
        case dataEnd
        case trailers(left: Int)
    }

    private var state = State.size
    /// The sizes of all chunks begun so far, in bytes: known before their data comes.
    private(set) var announced = 0

    /// Takes what it can from the front of `bytes`, which must hold what was left the last time.
    mutating func next(_ bytes: inout ByteBuffer) throws(Malformed) -> Step {
        while true {
            switch state {
            case .size:
                guard let line = try Self.nextLine(&bytes, limit: Self.maxSizeLine) else { return .incomplete }
                let size = try Self.size(line)
                (announced, _) = announced.addingReportingOverflow(size)
                guard announced >= 0 else { throw .size }
                state = size == 0 ? .trailers(left: Self.maxTrailers) : .data(left: size)
            case .data(let left):
                guard bytes.readableBytes > 0, let data = bytes.readSlice(length: min(left, bytes.readableBytes)) else {
                    return .incomplete
                }
                state = data.readableBytes == left ? .dataEnd : .data(left: left - data.readableBytes)
                return .data(data)
            case .dataEnd:
                guard let line = try Self.nextLine(&bytes, limit: 2) else { return .incomplete }
                guard line.readableBytes == 0 else { throw .framing }
                state = .size
            case .trailers(let left):
                guard let line = try Self.nextLine(&bytes, limit: left) else { return .incomplete }
                if line.readableBytes == 0 { return .end }
                state = .trailers(left: left - line.readableBytes - 1)
            }
        }
    }

    /// - Returns: the next line without its end; `nil` when it is not complete.
    private static func nextLine(_ bytes: inout ByteBuffer, limit: Int) throws(Malformed) -> ByteBuffer? {
        let length = bytes.withUnsafeReadableBytes { HeadLines.lineFeed(in: $0, from: 0) }
        guard (length ?? bytes.readableBytes) <= limit else { throw .framing }
        guard let length, var line = bytes.readSlice(length: length) else { return nil }
        bytes.moveReaderIndex(forwardBy: 1)
        if line.readableBytesView.last == UInt8(ascii: "\r") { line = line.getSlice(at: line.readerIndex, length: length - 1) ?? line }
        return line
    }

    private static func size(_ line: ByteBuffer) throws(Malformed) -> Int {
        let digits = line.readableBytesView.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
        // Fifteen digits do not overflow; the limit on bodies comes after. A sign, which `Int` would take, is no digit.
        guard (1...15).contains(digits.count), digits.allSatisfy({ isxdigit(CInt($0)) != 0 }),
            let size = Int(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw .size }
        return size
    }
}
