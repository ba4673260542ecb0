public import NIOCore

/// The server's state machine of one HTTP/1 connection, one exchange after another. It holds no channel.
///
/// The handler calls a method for each event. It then calls `next` until that returns `nil`, and carries out each action before the next
/// call. While an answer is made or sent, nothing more is read, which slows down a client that sends requests faster than it takes answers.
public struct ServerConnection: Sendable {
    private enum State {
        case reading(Reading)
        /// The request is refused, and `refuse` was not returned yet.
        case refusing(RequestError)
        /// Waiting for `respond`. The time to make an answer is not limited: `isTimerDue` says that the request's timer must still be stopped.
        case answering(Exchange, isRefused: Bool, isTimerDue: Bool)
        /// `unflushed`: the bytes written since the last flush; `nil` after a flush.
        case writing(OutgoingResponse, unflushed: Int?)
        /// After the last answer: received bytes are discarded, so that no reset destroys the answer.
        case lingering(Lingering)
        /// `next` must still return the action.
        case closing(Action)
        case closed
        /// The payload of the state is being changed. No event and no action sees this state.
        case changing
    }

    private static let noMemory = RequestError(503, "too much is being read; try again")
    /// The most pieces of bodies in one turn. One read can contain tens of thousands of chunks.
    private static let maxPieces = 256

    /// May change with any event.
    public var timeouts: Timeouts
    /// How many bytes are read and discarded after the last answer, so that the client can read it.
    private let lingerBytes: Int
    private var state = State.reading(Reading())
    private var decoder: RequestDecoder
    private var waiting = PendingBytes()
    /// Whether the budget had no room for `waiting` while an answer was made or sent. The client is told after that answer.
    private var isWaitingDropped = false
    private var timerChange: Action?
    /// Whether a read was requested while reading is paused.
    private var isReadHeld = false
    /// The pieces of bodies that were handed over since the last turn.
    private var pieces = 0
    private var lastRead = NIODeadline.uptimeNanoseconds(0)
    private var isInputOpen = true
    private var hasAnswered = false
    private var drain: Drain?
    private var turn = Turn.running
    /// Whether a large response may be written. The handler sets it while it carries out `takeTurn`.
    public var isInLargeTurn = false

    /// - Parameters:
    ///   - maxBody: the largest body of a request, in bytes as they are sent.
    ///   - lingerBytes: how many bytes are read and discarded after the last answer.
    public init(timeouts: Timeouts, maxBody: Int, lingerBytes: Int = 1 << 20) {
        self.timeouts = timeouts
        self.lingerBytes = lingerBytes
        decoder = RequestDecoder(maxBody: maxBody)
    }

    // MARK: - What is held

    /// The memory of bytes that were read and not consumed.
    public var heldForReading: Int { waiting.held }

    /// The response that its reader has not taken at once, or that waits for a turn; `nil` when there is none.
    public var slowResponse: OutgoingResponse? {
        if case .writing(let outgoing, _) = state, outgoing.isSlow || turn != .running { outgoing } else { nil }
    }

    /// Whether a large response is being written.
    public var hasLargeResponse: Bool { if case .writing(let outgoing, _) = state { outgoing.isLarge } else { false } }

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
    /// - Parameter now: the time of the read.
    public mutating func received(_ bytes: ByteBuffer, at now: NIODeadline) {
        lastRead = now
        switch state {
        case .closing, .closed, .changing: break
        case .lingering(var lingering):
            lingering.discardable -= bytes.readableBytes
            state = lingering.discardable >= 0 ? .lingering(lingering) : .closing(.close)
        case .reading(let reading):
            if !reading.isHeld, let deadline = reading.deadline, let stall = timeouts.stall {
                timerChange = .timer(min(stall, deadline - now))
            }
            waiting.append(bytes)
        // After the client has ended its side, all that the kernel has is read at once, whatever `readRequested` says.
        case .refusing, .answering, .writing: if !isWaitingDropped { waiting.append(bytes) }
        }
    }

    /// The client has ended its side. Its requests are still answered.
    public mutating func inputEnded() { isInputOpen = false }

    /// The channel wants to read.
    /// - Returns: whether to read now; if not, the action `read` follows later.
    public mutating func readRequested() -> Bool {
        switch state {
        case .reading(let reading) where turn == .running && !reading.isHeld: return true
        case .lingering, .closing, .closed: return true
        case .reading, .refusing, .answering, .writing, .changing:
            isReadHeld = true
            return false
        }
    }

    /// Nothing more is done in this turn: `yield` follows.
    public mutating func endTurn() { turn.end() }

    /// It is this connection's turn again. A request that waited for it begins now: nothing was read while the one before was answered.
    public mutating func resumed(at now: NIODeadline) {
        pieces = 0
        turn = .running
        lastRead = now
    }

    /// Stops reading the body until `releaseBody`. No timer runs meanwhile, because the client is not late.
    public mutating func holdBody() {
        changeReading { $0.isHeld = true }
        timerChange = .timer(nil)
    }

    /// The decision has been made: either the body is read now, and its time starts, or `respond` follows.
    public mutating func releaseBody(at now: NIODeadline) {
        guard case .reading(var reading) = state else { return }
        reading.isHeld = false
        if reading.deadline != nil, let time = timeouts.body { reading.deadline = now + time }
        state = .reading(reading)
        lastRead = now
        let time = timeouts.body ?? timeouts.head
        timerChange = .timer(min(time, timeouts.stall ?? time))
    }

    /// The listener closes, or its rules have changed.
    public mutating func drain(_ wish: Drain) {
        let drain = if let drain, drain.isFinal { drain } else { wish }
        self.drain = drain
        // Wait a moment, because the kernel may hold a request that was not read yet.
        if case .reading = state, !isWithinRequest { timerChange = .timer(hasAnswered ? drain.keptPause : drain.newPause) }
        if case .lingering(let lingering) = state, !lingering.expectsMore { timerChange = .timer(lingering.time(in: drain)) }
    }

    /// The answer to the current request. If it comes before the body is complete, it ends the connection.
    /// - Parameter date: the value of `Date`.
    public mutating func respond(with response: Response, date: String, allocator: ByteBufferAllocator) {
        let exchange: Exchange
        let isRefused: Bool
        switch state {
        case .answering(let awaited, let refused, _): (exchange, isRefused) = (awaited, refused)
        case .reading(let reading):
            guard let begun = reading.exchange else { return assertionFailure("no request waits for an answer") }
            (exchange, isRefused) = (begun, true)
        // The request was refused, or the connection ended, while the answer was being made.
        case .refusing, .writing, .lingering, .closing, .closed, .changing: return
        }
        let isLast = !exchange.keepsAlive || drain != nil || (!isInputOpen && waiting.isEmpty && !isWaitingDropped)
        state = .writing(
            OutgoingResponse(
                response, answering: exchange.method, isHTTP10: exchange.isHTTP10,
                end: isRefused ? .linger : isLast ? .close : .keepAlive, date: date, allocator: allocator),
            unflushed: nil)
    }

    /// The kernel has taken the bytes of a `write`, and all before them.
    /// - Parameter report: what the action said.
    public mutating func taken(_ report: Int) {
        changeOutgoing { $0.taken(before: report) }
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
        // The program is late, not the client.
        case .reading where turn != .running && isWithinRequest: timerChange = .timer(timeouts.head)
        case .reading(let reading) where isWithinRequest:
            let isStalled = if let deadline = reading.deadline, let stall = timeouts.stall { lastRead + stall < deadline } else { false }
            state = .refusing(.timeout(isStalled: isStalled))
        case .writing: changeOutgoing { $0.isSampleDue = true }
        case .reading, .refusing, .answering, .lingering: state = .closing(.close)
        case .closing, .closed, .changing: break
        }
    }

    /// The budget has no room for the bytes that were read. They are dropped, and the client is told, after the answer under way.
    public mutating func refuseReading() {
        waiting = PendingBytes()
        switch state {
        case .reading: state = .refusing(Self.noMemory)
        case .answering, .writing: isWaitingDropped = true
        case .refusing, .lingering, .closing, .closed, .changing: break
        }
    }

    /// Cuts the connection, because its response holds memory that other responses need.
    public mutating func cutSlowReader() { if case .writing = state { state = .closing(.cut(.heldSize)) } }

    /// Close as soon as possible, because the connection is broken.
    public mutating func abort() {
        switch state {
        case .closing, .closed: break
        case .reading, .refusing, .answering, .writing, .lingering: state = .closing(.close)
        case .changing: assertionFailure()
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
        if let change = timerChange {
            timerChange = nil
            return change
        }
        switch state {
        case .closing(let action):
            ended()
            return action
        case .closed: return nil
        case _ where turn != .running: return turn.yield()
        case .reading(let reading): return reading.isHeld ? nil : next(in: reading)
        case .refusing(let error): return refuse(error, Exchange())
        case .answering(let exchange, let isRefused, let isTimerDue):
            guard isTimerDue else { return nil }
            state = .answering(exchange, isRefused: isRefused, isTimerDue: false)
            return .timer(nil)
        case .writing: return nextWhileWriting(isWritable)
        case .lingering(var lingering):
            if lingering.isOutputOpen {
                lingering.isOutputOpen = false
                state = .lingering(lingering)
                return .closeOutput
            }
            return isInputOpen ? takeHeldRead() : close()
        case .changing:
            assertionFailure("an action while the state changes")
            return nil
        }
    }

    private mutating func next(in reading: Reading) -> Action? {
        if pieces >= Self.maxPieces {
            turn.end()
            return turn.yield()
        }
        if reading.owesContinue != .nothing {
            var action: Action?
            let clientWaits = waiting.isEmpty
            changeReading { action = $0.sendContinue(clientWaits: clientWaits) }
            if let action { return action }
        }
        do throws(RequestError) {
            switch try decoder.next(&waiting.bytes) {
            case .incomplete: return readMore(reading)
            case .head(let head): return begin(head, isTimed: reading.isTimed)
            case .body(let piece):
                pieces += 1
                return .body(piece)
            case .end:
                state = .answering(reading.exchange ?? Exchange(), isRefused: false, isTimerDue: true)
                return .end
            }
        } catch {
            return refuse(error, reading.exchange ?? Exchange())
        }
    }

    private mutating func begin(_ head: RequestHead, isTimed: Bool) -> Action {
        var reading = Reading(
            exchange: Exchange(method: head.method, isHTTP10: head.isHTTP10, keepsAlive: head.keepsAlive), isTimed: isTimed)
        if head.framing != .none {
            if head.expectsContinue { reading.owesContinue = .line }
            if let time = timeouts.body {
                reading.isTimed = true
                reading.deadline = lastRead + time
                timerChange = .timer(min(time, timeouts.stall ?? time))
            }
        }
        state = .reading(reading)
        return .head(head)
    }

    private mutating func readMore(_ reading: Reading) -> Action? {
        waiting.releaseIfEmpty()
        guard isInputOpen else { return isWithinRequest ? refuse(.truncated, reading.exchange ?? Exchange()) : close() }
        // The whole request must arrive in this time. An ordinary request arrives at once and starts no timer.
        if isWithinRequest, !reading.isTimed {
            changeReading { $0.isTimed = true }
            return .timer(timeouts.head)
        }
        return takeHeldRead()
    }

    /// Whether a request has begun and is not complete. Asked only while the state is `reading`: in every other state it is true.
    private var isWithinRequest: Bool {
        if case .reading(let reading) = state, reading.exchange == nil { !waiting.isEmpty } else { true }
    }

    private mutating func takeHeldRead() -> Action? {
        guard isReadHeld else { return nil }
        isReadHeld = false
        return .read
    }

    private mutating func refuse(_ error: RequestError, _ exchange: Exchange) -> Action {
        state = .answering(exchange, isRefused: true, isTimerDue: false)
        return .refuse(error)
    }

    private mutating func close() -> Action {
        ended()
        return .close
    }

    private mutating func nextWhileWriting(_ isWritable: () -> Bool) -> Action? {
        guard case .writing(var outgoing, var unflushed) = state else { return nil }
        if outgoing.isTaken { return finish(outgoing) }
        if outgoing.hasMore, outgoing.isLarge, !isInLargeTurn, isWritable() { return .takeTurn }
        // A second owner would cause a copy of the list of pieces.
        state = .changing
        defer { state = .writing(outgoing, unflushed: unflushed) }
        // A TLS handler takes everything that is written, and reports only at the flush whether it has room.
        if outgoing.hasMore, unflushed ?? 0 < OutgoingResponse.channelWindow, isWritable() {
            return outgoing.handOver(adding: &unflushed)
        }
        if unflushed != nil {
            unflushed = nil
            return .flush
        }
        return outgoing.takesSample() ? .sample : nil
    }

    private mutating func changeOutgoing(_ change: (inout OutgoingResponse) -> Void) {
        guard case .writing(var outgoing, let unflushed) = state else { return }
        state = .changing
        change(&outgoing)
        state = .writing(outgoing, unflushed: unflushed)
    }

    private mutating func changeReading(_ change: (inout Reading) -> Void) {
        guard case .reading(var reading) = state else { return }
        change(&reading)
        state = .reading(reading)
    }

    /// What follows a response. When a final drain came too late for the answer to say so, the client may have sent its next request.
    private mutating func finish(_ outgoing: OutgoingResponse) -> Action? {
        let end = outgoing.end
        switch end {
        case .keepAlive where isWaitingDropped:
            state = .refusing(Self.noMemory)
            return .timer(nil)
        case .keepAlive where drain?.isFinal != true:
            hasAnswered = true
            state = .reading(Reading())
            // The next request waits until other connections have had their turn.
            if !waiting.isEmpty { turn.end() }
            return .timer(drain?.keptPause ?? timeouts.idle)
        case _ where !isInputOpen || (end == .close && waiting.isEmpty && !outgoing.tookTime): return close()
        case .close, .linger, .keepAlive:
            let lingering = Lingering(discardable: lingerBytes, expectsMore: end != .close || !waiting.isEmpty)
            state = .lingering(lingering)
            waiting = PendingBytes()
            isReadHeld = true
            return .timer(lingering.time(in: drain))
        }
    }
}
