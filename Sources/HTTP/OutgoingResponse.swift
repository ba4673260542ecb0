import NIOCore

/// A response on its way: which of its pieces the channel has, and how fast its reader takes them.
public struct OutgoingResponse: Sendable {
    /// What follows the response.
    enum End: Equatable, Sendable {
        case keepAlive
        case close
        /// The rest of what the client sends is not understood: read on for a while, then close.
        case linger
    }

    /// What a sample says of the reader.
    enum Verdict: Equatable {
        /// Take the next sample after this time.
        case wait(TimeAmount)
        case cut(ServerConnection.CutReason)
    }

    /// Up to this, head and body go out as one buffer: a copy is cheaper than more pieces.
    static let joinedSize = 64 << 10
    /// The reader is looked at so often within the time in which it has to take something.
    static let samples = 4
    /// What the channel may hold of a response while it is writable: the upper mark of its buffer. Bytes before that are taken.
    public static let channelWindow = 512 << 10

    let end: End
    /// Whether the kernel has taken all of it.
    var isTaken = false
    /// Whether the channel did not take it at once.
    private(set) var isSlow = false
    var isSampleDue = false
    /// Those that the kernel has taken for certain are replaced by empty ones: they are not held until the last one is taken.
    private var pieces: [ByteBuffer]
    private let leases: [PieceLease?]
    /// The next piece to hand to the channel, and the bytes of all before it.
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

    /// While the channel is writable after a flush, it holds at most so much.
    private mutating func dropTaken() {
        while taken < handed, takenBytes + pieces[taken].readableBytes <= handedBytes - Self.channelWindow {
            takenBytes += pieces[taken].readableBytes
            pieces[taken] = ByteBuffer()
            taken += 1
        }
    }

    /// What is held of the response: for each piece from `taken` on its memory in bytes, and its lease, if it is shared.
    public var held: [(bytes: Int, lease: PieceLease?)] {
        (taken..<pieces.count).map { index in
            // A head of its own is small, and not counted.
            guard index > 0 || pieces.count == 1 else { return (0, nil) }
            return (pieces[index].storageCapacity, leases.indices.contains(index - 1) ? leases[index - 1] : nil)
        }
    }

    /// At most so many bytes of it wait in the channel.
    public var inChannel: Int { min(handedBytes - takenBytes, Self.channelWindow) }

    // MARK: - The reader

    /// Whether a sample of the reader's progress has to be taken now: the first one when the channel does not take the response at once.
    mutating func takesSample() -> Bool {
        defer {
            isSlow = true
            isSampleDue = false
        }
        return !isSlow || isSampleDue
    }

    /// The reader has come so far.
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

/// How much of a response its reader has taken, sampled now and then: equal samples mean that nothing moved.
public struct WriteProgress: Equatable, Sendable {
    /// Bytes that the channel has not been able to hand to the kernel.
    public var buffered: Int
    /// Bytes that the peer has acknowledged; 0 where the transport does not say. The kernel's buffer is large and asks for more only when a
    /// third of it is free: without this a slow reader would look like one that takes nothing.
    public var acknowledged: UInt64
    /// Pieces handed to the channel.
    var handed = 0

    /// A sample.
    public init(buffered: Int, acknowledged: UInt64) {
        self.buffered = buffered
        self.acknowledged = acknowledged
    }
}
