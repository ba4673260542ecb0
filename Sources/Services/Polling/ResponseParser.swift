import NIOCore
import Proxy

/// Reads one HTTP/1 response from the bytes of a connection (RFC 9112): informational heads, the head, the pieces of its body.
///
/// Lenient in that a line may end in a bare LF (§2.2); strict about whatever says where the body ends.
struct ResponseParser {
    /// All heads of a response together, the informational ones too.
    static let maxHead = ByteCount.kibibytes(64)

    enum Step: Equatable {
        /// More bytes are needed.
        case incomplete
        /// A head, complete; what it says comes next.
        case head(FramedResponseHead)
        case body(ByteBuffer)
        /// The body is complete. One that ends with the connection never is.
        case end
    }

    private enum State {
        /// The bytes looked at without finding the end of the head.
        case head(scanned: Int)
        case body(left: Int)
        case chunks(ChunkedBody)
        case untilEnd
    }

    private var state = State.head(scanned: 0)
    /// Bytes of heads so far.
    private var headBytes = 0

    /// Takes what it can from the front of `bytes`, which must hold what was left the last time.
    /// - Throws: `.notHTTP`, `.headTooLarge`; nothing more can be read then.
    mutating func next(_ bytes: inout ByteBuffer) throws(PollFailure) -> Step {
        switch state {
        case .head(let scanned):
            return try nextHead(&bytes, scanned: scanned)
        case .body(let left):
            guard left > 0 else { return .end }
            guard let piece = Self.take(left, from: &bytes) else { return .incomplete }
            state = .body(left: left - piece.readableBytes)
            return .body(piece)
        case .untilEnd:
            return Self.take(.max, from: &bytes).map { .body($0) } ?? .incomplete
        case .chunks(var body):
            do throws(ChunkedBody.Malformed) {
                let step = try body.next(&bytes)
                state = .chunks(body)
                return switch step {
                case .incomplete: .incomplete
                case .data(let piece): .body(piece)
                case .end: .end
                }
            } catch {
                throw .notHTTP(error == .size ? "invalid chunk size" : "malformed chunk")
            }
        }
    }

    /// At most so many bytes; `nil` when there are none.
    private static func take(_ most: Int, from bytes: inout ByteBuffer) -> ByteBuffer? {
        bytes.readableBytes > 0 ? bytes.readSlice(length: min(most, bytes.readableBytes)) : nil
    }

    // MARK: - Heads

    private mutating func nextHead(_ bytes: inout ByteBuffer, scanned: Int) throws(PollFailure) -> Step {
        switch bytes.withUnsafeReadableBytes({ raw in Self.findHead(raw, scanned: scanned, most: Self.maxHead.bytes - headBytes) }) {
        case .failure(let failure):
            throw failure
        case .success(.incomplete(let scanned)):
            state = .head(scanned: scanned)
            return .incomplete
        case .success(.complete(let head, let length)):
            bytes.moveReaderIndex(forwardBy: length)
            headBytes += length
            state =
                switch head.framing {
                case _ where head.isInformational: .head(scanned: 0)
                case .none: .body(left: 0)
                case .length(let length): .body(left: length)
                case .chunked: .chunks(ChunkedBody())
                case .untilEnd: .untilEnd
                }
            return .head(head)
        }
    }

    private enum Found {
        case incomplete(scanned: Int)
        case complete(FramedResponseHead, length: Int)
    }

    private static func findHead(_ raw: UnsafeRawBufferPointer, scanned: Int, most: Int) -> Result<Found, PollFailure> {
        // Whoever speaks another protocol may never send an empty line.
        guard zip(raw, "HTTP/".utf8).allSatisfy({ $0 == $1 }) else { return .failure(.notHTTP("it does not begin with HTTP/")) }
        switch HeadEnd(in: raw, scanned: scanned) {
        case .found(let lines, let total) where total <= most:
            do throws(PollFailure) {
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
