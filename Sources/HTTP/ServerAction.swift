public import NIOCore

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
        /// Write these bytes. When the kernel has taken the last ones, call `taken`.
        case write(ByteBuffer, isLast: Bool)
        case flush
        /// Take a sample of the reader's progress, and call `sampled`.
        case sample
        /// Call `timerExpired` after this time. It replaces the time before; `nil` means never.
        case timer(TimeAmount?)
        /// Issue the read that was held back.
        case read
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
        /// Whether the next request waits for this connection's turn.
        var isYielding = false
        /// What is left to do for a client that expects `100 Continue`.
        var owesContinue = Continue.nothing

        enum Continue { case nothing, line, flush }
    }
}
