public import NIOCore

/// The server's state machine of one HTTP/1 connection, one exchange after another. It holds no channel.
///
/// The handler calls a method for each event. It then calls `next` until that returns `nil`, and carries out each action before the next
/// call. While an answer is made or sent, nothing more is read, which slows down a client that sends requests faster than it takes answers.
public struct ServerConnection: Sendable {
    /// What is known of the current request.
    private struct Exchange {
        var method = Request.Method.get
        var isHTTP10 = false
        var keepsAlive = false
    }

    private enum State {
        /// Within a request, after its head. `nil`: between requests, or within a head.
        case reading(Exchange?)
        /// The request is refused, and `refuse` was not returned yet.
        case refusing(RequestError)
        /// Waiting for `respond`.
        case answering(Exchange, isRefused: Bool)
        case writing(OutgoingResponse)
        /// After an error: received bytes are discarded, so that no reset destroys the answer.
        case lingering(discardable: Int)
        /// `next` must still return the action.
        case closing(Action)
        case closed
    }

    private static let lingerTime = TimeAmount.seconds(2)
    /// The limit of bytes that wait while an answer is sent. The kernel delivers more than one read only after the client has ended its
    /// side.
    private static let maxWaiting = 256 << 10
    /// Pieces of bodies that are handed over before it is the turn of others: one read can hold tens of thousands of chunks.
    private static let maxPieces = 256

    private let timeouts: Timeouts
    /// How many bytes are read and discarded after an error, so that the client can read the answer.
    private let lingerBytes: Int
    private var state = State.reading(nil)
    private var decoder: RequestDecoder
    private var waiting = PendingBytes()
    private var timerChange: Action?
    /// Whether a read was requested while reading is paused.
    private var isReadHeld = false
    /// Whether the next request, or the rest of a body, waits for this connection's turn.
    private var isYielding = false
    /// The pieces of bodies handed over since the last turn.
    private var pieces = 0
    private var lastRead = NIODeadline.uptimeNanoseconds(0)
    /// When the body under way has to be complete.
    private var bodyDeadline: NIODeadline?
    /// Whether the body waits for a decision about its request.
    private var isBodyHeld = false
    private var isContinueDue = false
    private var isFlushDue = false
    /// Bytes written since the last flush.
    private var unflushed = 0
    private var isTimerStopDue = false
    private var isOutputOpen = true
    private var isInputOpen = true
    /// Whether the timer of the current request is running.
    private var isRequestTimed = false
    private var hasAnswered = false
    private var drain: Drain?

    /// - Parameters:
    ///   - maxBody: the largest body of a request, in bytes as they are sent.
    ///   - lingerBytes: what is read on after an error.
    public init(timeouts: Timeouts, maxBody: Int, lingerBytes: Int = 1 << 20) {
        self.timeouts = timeouts
        self.lingerBytes = lingerBytes
        decoder = RequestDecoder(maxBody: maxBody)
    }

    // MARK: - What is held

    /// The memory of bytes that were read and not consumed.
    public var heldForReading: Int { waiting.held }

    /// The response that its reader has not taken at once; `nil` when there is none.
    public var slowResponse: OutgoingResponse? {
        if case .writing(let outgoing) = state, outgoing.isSlow { outgoing } else { nil }
    }

    // MARK: - Events

    /// The connection is open.
    /// - Parameter handshakeTimeout: the time limit of its TLS handshake; `nil` without TLS.
    public mutating func opened(handshakeTimeout: TimeAmount?) {
        timerChange = .timer(handshakeTimeout.map { $0 + timeouts.head } ?? timeouts.head)
    }

    /// The TLS handshake is complete.
    public mutating func handshakeCompleted() {
        timerChange = .timer(drain?.newPause ?? timeouts.head)
    }

    /// Bytes have been read.
    /// - Parameter now: looked at only where the time for the next bytes of a body is limited.
    public mutating func received(_ bytes: ByteBuffer, at now: NIODeadline) {
        lastRead = now
        if case .reading = state, let bodyDeadline, let stall = timeouts.stall { timerChange = .timer(min(stall, bodyDeadline - now)) }
        switch state {
        case .closing, .closed: break
        case .lingering(let discardable):
            let left = discardable - bytes.readableBytes
            state = left >= 0 ? .lingering(discardable: left) : .closing(.close)
        case .reading, .refusing, .answering, .writing:
            waiting.append(bytes)
        }
    }

    /// The client has ended its side. Its requests are still answered.
    public mutating func inputEnded() { isInputOpen = false }

    /// The channel wants to read.
    /// - Returns: whether to read now; if not, the action `read` follows later.
    public mutating func readRequested() -> Bool {
        switch state {
        case .reading where !isYielding && !isBodyHeld: return true
        case .lingering, .closing, .closed: return true
        case .reading, .refusing, .answering, .writing:
            isReadHeld = true
            return false
        }
    }

    /// It is this connection's turn again.
    public mutating func resumed() {
        isYielding = false
        pieces = 0
    }

    /// Reads nothing more of the request that has begun, before `releaseBody` is called. It is not the client that takes time then.
    public mutating func holdBody() {
        isBodyHeld = true
        timerChange = .timer(nil)
    }

    /// The body of the request is read after all, or its answer is given next.
    public mutating func releaseBody() {
        isBodyHeld = false
        if case .reading = state { timerChange = .timer(min(timeouts.body ?? timeouts.head, timeouts.stall ?? .hours(24))) }
    }

    /// The listener closes, or its rules have changed.
    public mutating func drain(_ wish: Drain) {
        if drain?.isFinal != true { drain = wish }
        if case .reading = state, !isWithinRequest { pauseForDrain() }
    }

    /// Waits a moment, because the kernel may hold a request that was not read yet.
    private mutating func pauseForDrain() {
        guard let drain else { return }
        timerChange = .timer(hasAnswered ? drain.keptPause : drain.newPause)
    }

    /// The answer to the current request. If it comes before the body is complete, it ends the connection. Ignored when no request waits.
    /// - Parameter date: the value of `Date`.
    public mutating func respond(with response: Response, date: String, allocator: ByteBufferAllocator) {
        let exchange: Exchange
        let isRefused: Bool
        switch state {
        case .answering(let awaited, let refused): (exchange, isRefused) = (awaited, refused)
        case .reading(let begun?): (exchange, isRefused) = (begun, true)
        case .reading(nil), .refusing, .writing, .lingering, .closing, .closed: return
        }
        let isLast = !exchange.keepsAlive || drain != nil || (!isInputOpen && waiting.isEmpty)
        isContinueDue = false
        isTimerStopDue = false
        state = .writing(
            OutgoingResponse(
                response, answering: exchange.method, isHTTP10: exchange.isHTTP10,
                end: isRefused ? .linger : isLast ? .close : .keepAlive, date: date, allocator: allocator))
    }

    /// The kernel has taken all of the response.
    public mutating func taken() {
        changeOutgoing { $0.isTaken = true }
    }

    /// A sample of the reader's progress.
    public mutating func sampled(_ progress: WriteProgress, at now: NIODeadline) {
        var next: OutgoingResponse.Verdict?
        let timeouts = timeouts
        changeOutgoing { next = $0.sampled(progress, at: now, timeouts: timeouts) }
        switch next {
        case .wait(let time): timerChange = .timer(time)
        case .cut(let reason): state = .closing(.cut(reason))
        case nil: break
        }
    }

    /// The timer has expired.
    public mutating func timerExpired() {
        switch state {
        case .reading where isWithinRequest:
            state = .refusing(.timeout(isStalled: bodyDeadline.map { lastRead + (timeouts.stall ?? .hours(24)) < $0 } ?? false))
        case .writing: changeOutgoing { $0.isSampleDue = true }
        case .reading, .refusing, .answering, .lingering: state = .closing(.close)
        case .closing, .closed: break
        }
    }

    /// The budget has no memory for what this connection sends.
    public mutating func refuseReading() {
        waiting = PendingBytes()
        switch state {
        case .reading: state = .refusing(RequestError(503, "too much is being read; try again"))
        case .answering, .writing: state = .closing(.close)
        case .refusing, .lingering, .closing, .closed: break
        }
    }

    /// Others need the memory that this connection's response holds.
    public mutating func cutSlowReader() {
        if case .writing = state { state = .closing(.cut(.heldSize)) }
    }

    /// Close as soon as possible, because the connection is broken.
    public mutating func abort() {
        switch state {
        case .closing, .closed: break
        case .reading, .refusing, .answering, .writing, .lingering: state = .closing(.close)
        }
    }

    /// The channel is closed: nothing more happens.
    public mutating func ended() {
        state = .closed
        waiting = PendingBytes()
        timerChange = nil
    }

    // MARK: - Actions

    /// The next action; `nil` when there is nothing to do before another event.
    public mutating func next(isWritable: @autoclosure () -> Bool) -> Action? {
        if let change = takeTimerChange() { return change }
        switch state {
        case .reading(let exchange): return isYielding || isBodyHeld ? nil : nextWhileReading(exchange)
        case .refusing(let error): return refuse(error, Exchange())
        case .answering: return limitWaiting() ?? stopTimer()
        case .writing: return limitWaiting() ?? nextWhileWriting(isWritable)
        case .lingering: return nextWhileLingering()
        case .closing(let action):
            ended()
            return action
        case .closed: return nil
        }
    }

    private mutating func takeTimerChange() -> Action? {
        guard let change = timerChange else { return nil }
        timerChange = nil
        return change
    }

    private mutating func nextWhileReading(_ exchange: Exchange?) -> Action? {
        if pieces >= Self.maxPieces {
            isYielding = true
            return .yield
        }
        if isContinueDue {
            isContinueDue = false
            if waiting.isEmpty {
                isFlushDue = true
                return .write(ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n"), isLast: false)
            }
        }
        if isFlushDue {
            isFlushDue = false
            return .flush
        }
        do throws(RequestError) {
            switch try decoder.next(&waiting.bytes) {
            case .incomplete: return readMore(exchange)
            case .head(let head): return begin(head)
            case .body(let piece):
                pieces += 1
                return .body(piece)
            case .end:
                state = .answering(exchange ?? Exchange(), isRefused: false)
                bodyDeadline = nil
                isTimerStopDue = true
                return .end
            }
        } catch {
            return refuse(error, exchange ?? Exchange())
        }
    }

    private mutating func begin(_ head: RequestHead) -> Action {
        state = .reading(Exchange(method: head.method, isHTTP10: head.isHTTP10, keepsAlive: head.keepsAlive))
        if head.framing != .none {
            isContinueDue = head.expectsContinue
            if let time = timeouts.body {
                isRequestTimed = true
                bodyDeadline = lastRead + time
                timerChange = .timer(min(time, timeouts.stall ?? time))
            }
        }
        return .head(head)
    }

    private mutating func readMore(_ exchange: Exchange?) -> Action? {
        waiting.releaseIfEmpty()
        guard isInputOpen else {
            if let exchange { return refuse(.truncated, exchange) }
            ended()
            return .close
        }
        // The whole request must arrive in this time. An ordinary request arrives at once and starts no timer.
        if isWithinRequest, !isRequestTimed {
            isRequestTimed = true
            return .timer(timeouts.head)
        }
        return takeHeldRead()
    }

    /// Whether a request has begun and is not complete.
    private var isWithinRequest: Bool {
        if case .reading(nil) = state { !waiting.isEmpty } else { true }
    }

    private mutating func takeHeldRead() -> Action? {
        guard isReadHeld else { return nil }
        isReadHeld = false
        return .read
    }

    private mutating func refuse(_ error: RequestError, _ exchange: Exchange) -> Action {
        state = .answering(exchange, isRefused: true)
        return .refuse(error)
    }

    /// The time to make an answer is not limited.
    private mutating func stopTimer() -> Action? {
        guard isTimerStopDue else { return nil }
        isTimerStopDue = false
        return .timer(nil)
    }

    /// A client may have sent any number of requests before it ended its side.
    private mutating func limitWaiting() -> Action? {
        guard waiting.held > Self.maxWaiting else { return nil }
        ended()
        return .close
    }

    private mutating func nextWhileWriting(_ isWritable: () -> Bool) -> Action? {
        guard case .writing(var outgoing) = state else { return nil }
        if outgoing.isTaken { return finish(outgoing.end) }
        // A second owner would cause a copy of the list of pieces.
        state = .closed
        defer { state = .writing(outgoing) }
        // A TLS handler takes everything that is written, and reports only at the flush whether it has room.
        if outgoing.hasMore, unflushed < OutgoingResponse.channelWindow, isWritable() {
            isFlushDue = true
            let piece = outgoing.handOver()
            unflushed += piece.readableBytes
            return .write(piece, isLast: !outgoing.hasMore)
        }
        if isFlushDue {
            isFlushDue = false
            unflushed = 0
            return .flush
        }
        return outgoing.takesSample() ? .sample : nil
    }

    private mutating func changeOutgoing(_ change: (inout OutgoingResponse) -> Void) {
        guard case .writing(var outgoing) = state else { return }
        state = .closed
        change(&outgoing)
        state = .writing(outgoing)
    }

    /// What follows a response.
    private mutating func finish(_ end: OutgoingResponse.End) -> Action? {
        switch end {
        case .keepAlive:
            state = .reading(nil)
            hasAnswered = true
            isRequestTimed = false
            timerChange = .timer(drain?.keptPause ?? timeouts.idle)
            guard !waiting.isEmpty else { return takeTimerChange() }
            isYielding = true
            return .yield
        case .close where waiting.isEmpty, .close where !isInputOpen, .linger where !isInputOpen:
            ended()
            return .close
        case .close, .linger:
            state = .lingering(discardable: lingerBytes)
            waiting = PendingBytes()
            isReadHeld = true
            return .timer(Self.lingerTime)
        }
    }

    private mutating func nextWhileLingering() -> Action? {
        if isOutputOpen {
            isOutputOpen = false
            return .closeOutput
        }
        guard isInputOpen else {
            ended()
            return .close
        }
        return takeHeldRead()
    }
}
