import HTTP
import NIOCore
import Proxy

/// A response on its way: which of its pieces the channel has, and whether its reader takes any of it.
struct OutgoingResponse {
    /// What follows a response.
    enum End: Equatable {
        case keepAlive
        case close
        /// The rest of what the client sends is not understood: read on for a while, then close.
        case linger
    }

    /// Up to this, head and body go out as one buffer: a copy is cheaper than more pieces.
    private static let joinedSize = 64 << 10
    /// Samples in a row in which nothing moves, until the reader is given up.
    static let samples = 4

    let end: End
    /// Whether the kernel has taken all of it.
    var isTaken = false
    private var pieces: [ByteBuffer]
    /// The next piece to hand to the channel.
    private var index = 0
    /// The last sample, and how often it was the same.
    private var progress: WriteProgress?
    private var stalls = 0

    /// Puts head and body together.
    init(_ response: Response, answering method: Request.Method, isHTTP10: Bool, end: End, date: DateText, allocator: ByteBufferAllocator) {
        let body = response.pieces(answering: method)
        let size = body.isEmpty ? 0 : response.contentLength
        let isJoined = size <= Self.joinedSize
        var first = allocator.buffer(capacity: 384 + (isJoined ? size : 0))
        HeadEncoder.write(response, to: &first, keepAlive: end == .keepAlive, isHTTP10: isHTTP10, date: date.now)
        if isJoined {
            for piece in body { first.writeImmutableBuffer(piece) }
            pieces = [first]
        } else {
            pieces = [first] + body
        }
        self.end = end
    }

    /// Whether the channel has not all of it yet.
    var hasMore: Bool { index < pieces.count }

    /// The next piece, of which nothing is kept here: pieces already written would otherwise be held until the last one is.
    mutating func takePiece() -> ByteBuffer {
        defer { index += 1 }
        let piece = pieces[index]
        pieces[index] = ByteBuffer()
        return piece
    }

    /// Takes the first sample of what its reader takes.
    /// - Returns: whether it was the first.
    mutating func beginSampling(_ channel: any Channel) -> Bool {
        guard progress == nil else { return false }
        progress = WriteProgress(of: channel, pieces: index)
        return true
    }

    /// Takes another sample.
    /// - Returns: whether the reader has taken nothing for too many of them.
    mutating func sample(_ channel: any Channel) -> Bool {
        let now = WriteProgress(of: channel, pieces: index)
        stalls = now == progress ? stalls + 1 : 0
        progress = now
        return stalls >= Self.samples
    }
}
