public import NIOCore

/// A response that is being sent: which pieces the channel has, and how fast the reader takes them.
public struct OutgoingResponse: Sendable {
    /// What follows the response.
    enum End: Equatable, Sendable {
        case keepAlive
        case close
        /// As `close`, and the rest of the client's bytes cannot be read.
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
    /// How many bytes of a response the channel itself may hold while it is writable: its high-water mark.
    public static let channelWindow = 512 << 10

    let end: End
    /// Whether the channel could not take it at once.
    private(set) var isSlow = false
    var isSampleDue = false
    /// Pieces that the kernel has taken are replaced by empty ones, so that they are not held until the last one is taken.
    private var pieces: [ByteBuffer]
    private let leases: [PieceLease?]
    /// The next piece for the channel, and the bytes of all pieces before it.
    private var handed = 0
    private var handedBytes = 0
    /// The first piece that the kernel has not taken.
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

    /// Whether writing it may take long.
    var isLarge: Bool { pieces.count > 1 }

    /// Whether the client may have sent something while it was sent, and may not have taken all of it.
    var tookTime: Bool { isLarge || isSlow }

    /// Whether the channel has not all of it yet.
    var hasMore: Bool { handed < pieces.count }

    /// Whether the kernel has taken all of it.
    var isTaken: Bool { taken == pieces.count }

    /// The action that writes the next piece to the channel, which is writable.
    /// - Parameter unflushed: the bytes that were written since the last flush; `nil` for none.
    mutating func handOver(adding unflushed: inout Int?) -> ServerConnection.Action {
        let piece = pieces[handed]
        handed += 1
        handedBytes += piece.readableBytes
        let written = (unflushed ?? 0) + piece.readableBytes
        unflushed = written
        // Only the last piece before a flush is reported: a promise costs more than a piece.
        return .write(piece, report: !hasMore || written >= Self.channelWindow ? handed : nil)
    }

    /// The kernel has taken the pieces before `end`. Which ones that are cannot be told from a writable channel: behind it, a TLS handler may
    /// keep any number of them.
    mutating func taken(before end: Int) {
        while taken < end {
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

    /// An upper limit for the bytes that wait in the channel itself.
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

extension ServerConnection {
    /// The time limits of a connection.
    public struct Timeouts: Sendable {
        /// For a request's head, from its first byte, and for the first request from the start of the connection.
        public var head: TimeAmount
        /// For a request's body, from the end of its head; `nil` when the limit of the head also covers the body.
        public var body: TimeAmount?
        /// For the next bytes of a body; `nil` when only the time of the whole counts.
        public var stall: TimeAmount?
        /// For a kept connection without a request.
        public var idle: TimeAmount
        /// For a reader that takes no bytes.
        public var write: TimeAmount
        /// The longest that a reader may take for one response.
        public var response: TimeAmount

        /// Makes limits from their parts.
        public init(
            head: TimeAmount, body: TimeAmount? = nil, stall: TimeAmount? = nil, idle: TimeAmount, write: TimeAmount, response: TimeAmount
        ) {
            self.head = head
            self.body = body
            self.stall = stall
            self.idle = idle
            self.write = write
            self.response = response
        }
    }

    /// A request to end the connection after its current exchange.
    public struct Drain: Equatable, Sendable {
        /// How long a connection that has had no request stays open.
        public var newPause: TimeAmount
        /// How long any other connection without a request stays open.
        public var keptPause: TimeAmount
        /// Whether later requests to drain do not replace it.
        public var isFinal: Bool

        /// Makes it from its parts.
        public init(newPause: TimeAmount, keptPause: TimeAmount, isFinal: Bool) {
            self.newPause = newPause
            self.keptPause = keptPause
            self.isFinal = isFinal
        }
    }

    /// Why a connection is cut.
    public enum CutReason: String, CaseIterable, Sendable {
        /// Its reader takes no bytes.
        case writeTimeout = "write_timeout"
        /// Its reader takes too long for one response.
        case responseTimeout = "response_timeout"
        /// All readers together hold too much, and this one is the slowest.
        case heldSize = "max_held_size"
    }

    /// What the channel handler does next.
    public enum Action: Sendable {
        /// A request begins. It may be answered at once; then its body is not read.
        case head(RequestHead)
        /// The next piece of its body.
        case body(ByteBuffer)
        /// The request is complete. `respond` must follow.
        case end
        /// The request cannot be read any further. `respond` must follow with the error; then the connection ends.
        case refuse(RequestError)
        /// Write these bytes. When the kernel has taken them, call `taken` with `report`, if it is not `nil`.
        case write(ByteBuffer, report: Int?)
        case flush
        /// Take a sample of the reader's progress, and call `sampled`.
        case sample
        /// Call `timerExpired` after this time. It replaces the time before; `nil` means never.
        case timer(TimeAmount?)
        /// Issue the read that was held back.
        case read
        /// A large response is to be written. If the event loop has a turn for it, set `isInLargeTurn` and go on with `next`. If not, call
        /// `endTurn`.
        case takeTurn
        /// Give other connections their turn, then call `resumed`.
        case yield
        case closeOutput
        /// Close the connection.
        case close
        /// Close the connection at once, even if its reader has not taken everything.
        case cut(CutReason)
    }

    /// What is known of the current request.
    struct Exchange {
        var method = Request.Method.get
        var isHTTP10 = false
        var keepsAlive = false
    }

    /// A request that is being read, or the pause before one.
    struct Reading {
        /// The request, after its head; `nil` between requests, or within a head.
        var exchange: Exchange?
        /// Whether the request's timer is running.
        var isTimed = false
        /// When the body must be complete; `nil` if it has no time limit of its own.
        var deadline: NIODeadline?
        /// Whether the body waits for a decision about its request.
        var isHeld = false
        /// What is left to do for a client that expects `100 Continue`.
        var owesContinue = Continue.nothing

        enum Continue { case nothing, line, flush }

        /// Writes `100 Continue` and flushes it, unless the client sent the body without waiting.
        mutating func sendContinue(clientWaits: Bool) -> Action? {
            switch owesContinue {
            case .line where clientWaits:
                owesContinue = .flush
                return .write(ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n"), report: nil)
            case .flush:
                owesContinue = .nothing
                return .flush
            case .line, .nothing:
                owesContinue = .nothing
                return nil
            }
        }
    }

    /// The end of a connection whose client may still send. The kernel may hold bytes that came while the answer was sent, such as an empty
    /// line or a TLS close_notify. A close with unread bytes is a reset, which destroys what the client has not taken.
    struct Lingering {
        private static let longest = TimeAmount.seconds(2)

        /// How many bytes may still be discarded.
        var discardable: Int
        /// Whether more bytes are likely: the client was refused, has sent more already, or takes the connection for a kept one.
        let expectsMore: Bool
        var isOutputOpen = true

        /// How long to wait for the client's end. A drain waits no longer than for a kept connection, unless more bytes are likely.
        func time(in drain: Drain?) -> TimeAmount {
            guard let drain, !expectsMore else { return Self.longest }
            return min(Self.longest, drain.keptPause)
        }
    }

    /// The connection's turn on the event loop that it shares with others.
    enum Turn {
        case running
        /// `yield` must still be returned.
        case ending
        /// Until the connection is resumed, nothing is read, answered or written.
        case waiting

        mutating func end() {
            if self == .running { self = .ending }
        }

        /// - Returns: the action `yield`, once at the end of a turn.
        mutating func yield() -> Action? {
            guard self == .ending else { return nil }
            self = .waiting
            return .yield
        }
    }
}
