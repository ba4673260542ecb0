public import NIOCore

extension ServerConnection {
    /// The time limits of a connection.
    public struct Timeouts: Sendable {
        /// For a request's head, from its first byte; of a new connection from its start.
        public var head: TimeAmount
        /// For a request's body, from the end of its head; `nil` when the head's time goes on.
        public var body: TimeAmount?
        /// For a kept connection without a request.
        public var idle: TimeAmount
        /// For a reader that takes no bytes.
        public var write: TimeAmount
        /// The longest that a reader may take for one response.
        public var response: TimeAmount

        /// Limits made of their parts.
        public init(head: TimeAmount, body: TimeAmount? = nil, idle: TimeAmount, write: TimeAmount, response: TimeAmount) {
            self.head = head
            self.body = body
            self.idle = idle
            self.write = write
            self.response = response
        }
    }

    /// A wish that the connection ends after the exchange under way.
    public struct Drain: Equatable, Sendable {
        /// How long a connection is kept that has had no request.
        public var newPause: TimeAmount
        /// How long any other connection without a request is kept.
        public var keptPause: TimeAmount
        /// Whether no later wish replaces it.
        public var isFinal: Bool

        /// A wish made of its parts.
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
        /// Its reader is the slowest of those that together hold too much.
        case heldSize = "max_held_size"
    }

    /// What the owner of the channel does next.
    public enum Action: Sendable {
        /// A request begins. Its answer may be given at once: then its body is not read.
        case head(RequestHead)
        /// The next piece of its body.
        case body(ByteBuffer)
        /// The request is complete. Its answer is awaited.
        case end
        /// The request cannot be read any further. The answer that says so is awaited; the connection ends after it.
        case refuse(RequestError)
        /// Write these bytes. When the kernel has taken the last ones, call `taken`.
        case write(ByteBuffer, isLast: Bool)
        case flush
        /// Look how far the reader has come, and call `sampled`.
        case sample
        /// Call `timerExpired` after this time, instead of any other; `nil`: never.
        case timer(TimeAmount?)
        /// Issue the read that was held back.
        case read
        /// Let other connections take their turn, then call `resumed`.
        case yield
        case closeOutput
        /// Close the connection.
        case close
        /// Close the connection at once, whatever its reader has not taken.
        case cut(CutReason)
    }
}
