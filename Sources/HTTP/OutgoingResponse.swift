import NIOCore

/// A response that is being sent: which pieces the channel has, and how fast the reader takes them.
public struct OutgoingResponse: Sendable {
    /// What follows the response.
    enum End: Equatable, Sendable {
        case keepAlive
        case close
        /// The rest of the client's bytes cannot be read: discard them for a while, then close.
        case linger
    }

    /// What a sample says about the reader.
    enum Verdict: Equatable {
        /// Take the next sample after this time.
        case wait(TimeAmount)
        case cut(ServerConnection.CutReason)
    }

    /// Up to this size, head and body are sent as one buffer, because a copy is cheaper than more pieces.
    static let joinedSize = 64 << 10
    /// The number of samples within the time in which the reader has to take something.
    static let samples = 4
    /// How many bytes of a response the channel may hold while it is writable: its high-water mark. All bytes before them are taken.
    public static let channelWindow = 512 << 10

    let end: End
    /// Whether the kernel has taken all of it.
    var isTaken = false
    /// Whether the channel could not take it at once.
    private(set) var isSlow = false
    var isSampleDue = false
    /// Pieces that the kernel has certainly taken are replaced by empty ones, so that they are not held until the last one is taken.
    private var pieces: [ByteBuffer]
    private let leases: [PieceLease?]
    /// The next piece for the channel, and the bytes of all pieces before it.
    private var handed = 0
    private var handedBytes = 0
    /// The first piece that the kernel may not have taken.
    public private(set) var taken = 0
    /// The bytes of all pieces before `taken`.
    public private(set) var takenBytes = 0
    /// The last sample, and how often it was the same.
    private var progress: WriteProgress?
    private var stalls = 0
    /// When the first sample was taken.
    private var start = NIODeadline.uptimeNanoseconds(0)

    /// Puts head and body together.
    init(
        _ response: Response, answering method: Request.Method, isHTTP10: Bool, end: End, date: String, allocator: ByteBufferAllocator
    ) {
        let body = response.pieces(answering: method)
        let size = body.isEmpty ? 0 : response.contentLength
        let isJoined = size <= Self.joinedSize
        var first = allocator.buffer(capacity: 384 + (isJoined ? size : 0))
        HeadEncoder.write(response, to: &first, keepAlive: end == .keepAlive, isHTTP10: isHTTP10, date: date)
        if isJoined {
            for piece in body { first.writeImmutableBuffer(piece) }
            pieces = [first]
            leases = []
        } else {
            pieces = [first] + body
            leases = response.leases
        }
        self.end = end
    }

    // MARK: - Pieces

    /// Whether the channel has not all of it yet.
    var hasMore: Bool { handed < pieces.count }

    /// The next piece for the channel, which is writable.
    mutating func handOver() -> ByteBuffer {
        dropTaken()
        let piece = pieces[handed]
        handed += 1
        handedBytes += piece.readableBytes
        return piece
    }

    /// While the channel is writable after a flush, it holds at most `channelWindow` bytes.
    private mutating func dropTaken() {
        while taken < handed, takenBytes + pieces[taken].readableBytes <= handedBytes - Self.channelWindow {
            takenBytes += pieces[taken].readableBytes
            pieces[taken] = ByteBuffer()
            taken += 1
        }
    }

    /// What the response holds: for each piece from `taken` on its memory in bytes, and its lease if it is shared.
    public var held: [(bytes: Int, lease: PieceLease?)] {
        (taken..<pieces.count).map { index in
            // A separate head is small and does not count.
            guard index > 0 || pieces.count == 1 else { return (0, nil) }
            return (pieces[index].storageCapacity, leases.indices.contains(index - 1) ? leases[index - 1] : nil)
        }
    }

    /// An upper limit for the bytes that wait in the channel.
    public var inChannel: Int { min(handedBytes - takenBytes, Self.channelWindow) }

    // MARK: - The reader

    /// Whether to take a sample of the reader's progress now: the first one when the channel could not take the response at once.
    mutating func takesSample() -> Bool {
        defer {
            isSlow = true
            isSampleDue = false
        }
        return !isSlow || isSampleDue
    }

    /// Records a sample of the reader's progress.
    mutating func sampled(_ now: WriteProgress, at time: NIODeadline, timeouts: ServerConnection.Timeouts) -> Verdict {
        var now = now
        now.handed = handed
        let interval = TimeAmount.nanoseconds(max(timeouts.write.nanoseconds / Int64(Self.samples), 1_000_000))
        if progress == nil { start = time }
        stalls = now == progress ? stalls + 1 : 0
        progress = now
        if stalls >= Self.samples { return .cut(.writeTimeout) }
        let left = start + timeouts.response - time
        return left > .zero ? .wait(min(interval, left)) : .cut(.responseTimeout)
    }
}

/// A sample of how much of a response its reader has taken. Two equal samples mean that it took nothing in between.
public struct WriteProgress: Equatable, Sendable {
    /// Bytes that the kernel has not taken from the channel.
    public var buffered: Int
    /// Bytes that the peer has acknowledged; 0 if the transport does not report it. The kernel's buffer is large and takes more only when a
    /// third of it is free. Without this number a slow reader would look like one that takes nothing.
    public var acknowledged: UInt64
    /// Pieces handed to the channel.
    var handed = 0

    /// A sample.
    public init(buffered: Int, acknowledged: UInt64) {
        self.buffered = buffered
        self.acknowledged = acknowledged
    }
}
