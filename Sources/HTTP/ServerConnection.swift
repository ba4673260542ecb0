public import NIOCore

/// One HTTP/1 connection as its server sees it: what follows from each event, one exchange after another. It holds no channel.
///
/// A method tells what has happened. Then `next` is called until it returns `nil`, and each action is carried out before the next call.
/// While an answer is being made or taken, nothing more is read: a client that asks faster than it takes is slowed down.
public struct ServerConnection: Sendable {
    /// What is known of the request under way.
    private struct Exchange {
        var method = Request.Method.get
        var isHTTP10 = false
        var keepsAlive = false
    }

    private enum State {
        /// Within a request, after its head; `nil`: between requests, or within a head.
        case reading(Exchange?)
        /// The request is refused, and the exchange has not been told.
        case refusing(RequestError)
        /// The answer is awaited.
        case answering(Exchange, isRefused: Bool)
        case writing(OutgoingResponse)
        /// After an error: what still comes is thrown away, so that a reset does not destroy the answer.
        case lingering(discardable: Int)
        /// The action has yet to be carried out.
        case closing(Action)
        case closed
    }

    private static let lingerTime = TimeAmount.seconds(2)
    /// The memory that may wait to be read while an answer is on its way. The kernel delivers more than one read only when the client has
    /// ended its side.
    private static let maxWaiting = 256 << 10

    private let timeouts: Timeouts
    /// What is read on after an error, so that its sender comes to read the answer.
    private let lingerBytes: Int
    private var state = State.reading(nil)
    private var decoder: RequestDecoder
    private var waiting = PendingBytes()
    private var timerChange: Action?
    /// Whether a read was asked for while nothing is read.
    private var isReadHeld = false
    /// Whether the next request waits for this connection's turn.
    private var isYielding = false
    /// Whether the body waits for a decision about its request.
    private var isBodyHeld = false
    /// Whether the client waits for `100 Continue`.
    private var isContinueDue = false
    private var isFlushDue = false
    /// Bytes written since the last flush.
    private var unflushed = 0
    private var isTimerStopDue = false
    private var isOutputOpen = true
    private var isInputOpen = true
    /// Whether the time for the request under way is running.
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

    /// The memory of bytes that were read and are not consumed.
    public var heldForReading: Int { waiting.held }

    /// The response that its reader has not taken at once; `nil` when there is none.
    public var slowResponse: OutgoingResponse? {
        if case .writing(let outgoing) = state, outgoing.isSlow { outgoing } else { nil }
    }

    // MARK: - Events

    /// The connection is there.
    /// - Parameter handshakeTimeout: the time that its TLS handshake may take; `nil` without TLS.
    public mutating func opened(handshakeTimeout: TimeAmount?) {
        timerChange = .timer(handshakeTimeout.map { $0 + timeouts.head } ?? timeouts.head)
    }

    /// The TLS handshake is complete.
    public mutating func handshakeCompleted() {
        timerChange = .timer(drain?.newPause ?? timeouts.head)
    }

    /// Bytes have been read.
    public mutating func received(_ bytes: ByteBuffer) {
        switch state {
        case .closing, .closed: break
        case .lingering(let discardable):
            let left = discardable - bytes.readableBytes
            state = left >= 0 ? .lingering(discardable: left) : .closing(.close)
        case .reading, .refusing, .answering, .writing:
            waiting.append(bytes)
        }
    }

    /// The client has ended its side. What it has asked for is still answered.
    public mutating func inputEnded() { isInputOpen = false }

    /// The channel asks for more to be read.
    /// - Returns: whether to read now; if not, `read` follows.
    public mutating func readRequested() -> Bool {
        switch state {
        case .reading where !isYielding && !isBodyHeld: return true
        case .lingering, .closing, .closed: return true
        case .reading, .refusing, .answering, .writing:
            isReadHeld = true
            return false
        }
    }

    /// The connection's turn has come again.
    public mutating func resumed() { isYielding = false }

    /// Reads nothing more of the request that has begun, before `releaseBody` is called. It is not the client that takes time then.
    public mutating func holdBody() {
        isBodyHeld = true
        timerChange = .timer(nil)
    }

    /// The body of the request is read after all, or its answer is given next.
    public mutating func releaseBody() {
        isBodyHeld = false
        if case .reading = state { timerChange = .timer(timeouts.body ?? timeouts.head) }
    }

    /// The listener closes, or its rules have changed.
    public mutating func drain(_ wish: Drain) {
        if drain?.isFinal != true { drain = wish }
        if case .reading = state, !isWithinRequest { pauseForDrain() }
    }

    /// Not at once: a request that was sent just now may wait in the kernel, unread.
    private mutating func pauseForDrain() {
        guard let drain else { return }
        timerChange = .timer(hasAnswered ? drain.keptPause : drain.newPause)
    }

    /// The answer to the request under way. Given before its body is complete, it ends the connection. Ignored when none is awaited.
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

    /// How far the reader has come.
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

    /// The time that was asked for is over.
    public mutating func timerExpired() {
        switch state {
        case .reading where isWithinRequest: state = .refusing(RequestError(408, "the request took too long"))
        case .writing: changeOutgoing { $0.isSampleDue = true }
        case .reading, .refusing, .answering, .lingering: state = .closing(.close)
        case .closing, .closed: break
        }
    }

    /// There is no memory for what this connection sends.
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
            case .body(let piece): return .body(piece)
            case .end:
                state = .answering(exchange ?? Exchange(), isRefused: false)
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
                timerChange = .timer(time)
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
        // The whole of a request has to come in this time. The ordinary one comes at once and starts no timer.
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

    /// An answer may take as long as it takes.
    private mutating func stopTimer() -> Action? {
        guard isTimerStopDue else { return nil }
        isTimerStopDue = false
        return .timer(nil)
    }

    /// A client that has ended its side may have sent any number of requests before.
    private mutating func limitWaiting() -> Action? {
        guard waiting.held > Self.maxWaiting else { return nil }
        ended()
        return .close
    }

    private mutating func nextWhileWriting(_ isWritable: () -> Bool) -> Action? {
        guard case .writing(var outgoing) = state else { return nil }
        if outgoing.isTaken { return finish(outgoing.end) }
        // Two owners of the pieces would copy the list of them.
        state = .closed
        defer { state = .writing(outgoing) }
        // A TLS handler takes whatever is written, and says with the flush only whether it has room for it.
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
