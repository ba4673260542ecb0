import NIOCore
import Proxy

/// Decides when a receiver reads from one connection, when it decodes, when the peer was too slow, and how the connection ends. Its methods
/// take events and return actions. It holds no bytes and no channel.
struct PushStateMachine {
    /// How long a peer may take.
    struct Times: Sendable {
        /// For the next byte.
        var idle: TimeAmount
        /// From the first byte of a message to its last.
        var message: TimeAmount
    }

    /// How long and how many bytes are read and dropped after a refusal: enough for a sender that first writes all of a large message.
    static let lingerTime = TimeAmount.seconds(2)
    static let lingerBytes = 64 << 20
    /// How long a drain waits for a pause of a sender that sends one message after another.
    static let longestDrain = TimeAmount.milliseconds(500)

    private enum State: Equatable {
        /// Bytes are read and decoded at once.
        case receiving
        /// Complete messages wait for their turn, or are decoded elsewhere; nothing is read meanwhile.
        case working
        /// The error line is written. Further bytes are dropped, so that a reset does not discard the line before the sender has read it.
        case refused(discardable: Int, until: NIODeadline)
        case closed
    }

    /// May change with any event.
    var times: Times
    private var state = State.receiving
    /// What a reload or a stop has asked for, and since when.
    private var drain: (event: ConnectionDrainEvent, began: NIODeadline)?
    /// Whether any byte has arrived.
    private var hasReceived = false
    /// Whether the peer has ended its side.
    private var inputEnded = false
    /// Whether the connection is gone or has failed, so that no answer can be written.
    private var isGone = false
    /// Whether a message was applied since the decoder last asked for more.
    private var hasApplied = false
    /// The time of the last bytes.
    private var quietSince: NIODeadline
    /// The start of the message that is not complete yet.
    private var messageBegan: NIODeadline?

    init(times: Times, at now: NIODeadline) {
        self.times = times
        quietSince = now
    }

    /// The time at which to call `deadlinePassed`; `nil` without a deadline.
    var deadline: NIODeadline? {
        switch state {
        case .receiving:
            if let messageBegan { return min(quietSince + times.idle, messageBegan + times.message) }
            return quietSince + (drain?.event.pause(isNew: !hasReceived) ?? times.idle)
        case .refused(_, let until): return until
        case .working, .closed: return nil
        }
    }

    /// Whether one more message is taken, and no further one: later messages were sent under old rules of access.
    var nextIsLast: Bool { drain?.event == .accessChanged }

    /// Whether the socket may be read from.
    var reads: Bool { !isWorking }

    /// Whether complete messages wait for their turn, or are decoded elsewhere.
    var isWorking: Bool { state == .working }

    // MARK: - Bytes

    /// What to do with bytes that were read.
    enum Reception {
        /// Give them to the decoder, and decode.
        case decode
        /// Give them to the decoder, and decode later.
        case keep
        case discard
        case close
    }

    mutating func received(_ count: Int, at now: NIODeadline) -> Reception {
        switch state {
        case .receiving:
            hasReceived = true
            quietSince = now
            return .decode
        case .working: return .keep
        case .refused(let discardable, let until):
            guard count <= discardable else {
                state = .closed
                return .close
            }
            state = .refused(discardable: discardable - count, until: until)
            return .discard
        case .closed: return .discard
        }
    }

    // MARK: - Messages

    /// What to do next.
    enum Action: Equatable {
        case none
        /// Decode the bytes that have arrived.
        case decode
        /// Decode when other connections have had their turn.
        case yield
        /// Decode the next message, which is large, on another thread.
        case decodeElsewhere
        /// Ask the decoder whether the last message is incomplete, and call `finished`.
        case finish
        /// Tell the sender, the log and the metrics. The connection ends once the sender has ended its side, or at once.
        case refuse(Rejection, closes: Bool)
        /// Tell the log and the metrics, and close: no answer can be written.
        case report(Rejection)
        case close
        /// Close without the sign of TLS that all was received: the peer may have sent more.
        case abort
    }

    /// Why decoding has stopped.
    enum Stop: Equatable {
        /// All complete messages are applied.
        case needsMore(isWithinMessage: Bool)
        /// Other connections have their turn.
        case turnIsOver
        /// The next message is large, and must be decoded on another thread.
        case isLarge
        case rejected(Rejection)
    }

    /// - Parameter applied: whether a message was applied.
    mutating func decodingStopped(_ stop: Stop, applied: Bool, at now: NIODeadline) -> Action {
        guard state == .receiving || state == .working else { return .none }
        hasApplied = hasApplied || applied
        switch stop {
        case .turnIsOver:
            state = .working
            return .yield
        case .isLarge:
            state = .working
            return .decodeElsewhere
        case .rejected(let rejection): return refuse(rejection, at: now)
        case .needsMore(let isWithinMessage): return needsMore(isWithinMessage, at: now)
        }
    }

    /// The other thread has decoded its message, and applied or refused it.
    /// - Parameter holdsMore: whether bytes follow the message.
    mutating func decodedElsewhere(_ rejection: Rejection?, holdsMore: Bool, at now: NIODeadline) -> Action {
        guard state == .working else { return .none }
        if let rejection { return refuse(rejection, at: now) }
        hasApplied = true
        return nextIsLast ? endAfterLast(holdsMore, at: now) : .decode
    }

    private mutating func needsMore(_ isWithinMessage: Bool, at now: NIODeadline) -> Action {
        let wasWorking = state == .working
        let applied = hasApplied
        state = .receiving
        hasApplied = false
        if wasWorking { quietSince = now }
        messageBegan = isWithinMessage ? (applied ? nil : messageBegan) ?? now : nil
        if nextIsLast, applied { return endAfterLast(isWithinMessage, at: now) }
        if inputEnded { return .finish }
        // While the connection was not read from, the next message may have arrived: a drain ends after a pause, as it does without work.
        return .none
    }

    /// The last message that may be taken is applied. A sender that has sent more must not take the end for a success.
    private mutating func endAfterLast(_ holdsMore: Bool, at now: NIODeadline) -> Action {
        if holdsMore { return refuse(.accessChanged, at: now) }
        return inputEnded ? close() : abort()
    }

    // MARK: - The end of a connection

    /// The peer has ended its side.
    mutating func inputClosed() -> Action {
        inputEnded = true
        switch state {
        case .receiving: return .finish
        case .working: return .none
        case .refused, .closed: return close()
        }
    }

    /// The connection is gone. Complete messages are applied nevertheless.
    mutating func connectionLost() -> Action {
        isGone = true
        if case .refused = state { return close() }
        return inputClosed()
    }

    /// - Parameter rejection: of a message that is incomplete at the end.
    mutating func finished(_ rejection: Rejection?, at now: NIODeadline) -> Action {
        guard state == .receiving else { return .none }
        if let rejection { return refuse(rejection, at: now) }
        // Closing our side tells the sender that all messages were applied.
        return close()
    }

    /// A reload or a stop wants the connection to end.
    mutating func drain(_ event: ConnectionDrainEvent, at now: NIODeadline) {
        drain = (event.following(drain?.event), drain?.began ?? now)
        // Not at once: a message may have arrived in the kernel that is not read yet.
        if messageBegan == nil { quietSince = now }
    }

    /// Bytes were read. After a drain the connection ends with the next pause, because more may have arrived that is not read yet. A sender that
    /// makes no pause is cut between two messages, and is not told that all was applied.
    mutating func readCompleted(at now: NIODeadline) -> Action {
        guard state == .receiving, hasReceived, messageBegan == nil, let drain, now >= drain.began + Self.longestDrain
        else { return .none }
        return inputEnded ? close() : abort()
    }

    mutating func deadlinePassed(at now: NIODeadline) -> Action {
        switch state {
        case .receiving:
            guard let messageBegan else { return close() }
            return refuse(.timedOut(now < messageBegan + times.message ? .idle : .message), at: now)
        case .refused: return close()
        case .working, .closed: return .none
        }
    }

    /// The time of a drain is over: the connection closes after this. A sender that gets no answer takes its messages for applied.
    mutating func cut(at now: NIODeadline) -> Action {
        guard !isGone else { return .none }
        switch state {
        case .receiving: return messageBegan == nil ? .none : refuse(.timedOut(.closing), at: now)
        case .working: return refuse(.timedOut(.closingUndecoded), at: now)
        case .refused, .closed: return .none
        }
    }

    /// Refuses the current message and ends the connection. If the connection is gone, the refusal is only reported.
    mutating func refuse(_ rejection: Rejection, at now: NIODeadline) -> Action {
        guard state == .receiving || state == .working else { return .none }
        guard !isGone else {
            state = .closed
            return .report(rejection)
        }
        state = .refused(discardable: Self.lingerBytes, until: now + Self.lingerTime)
        // A peer that has ended its side sends nothing more that could cause a reset, so close at once.
        return .refuse(rejection, closes: inputEnded)
    }

    /// The answer that ends the connection is written.
    mutating func answered() -> Action { close() }

    /// The connection has failed. Messages that wait for their turn are applied before the connection ends.
    mutating func failed() -> Action {
        switch state {
        case .receiving:
            isGone = true
            return .finish
        case .working: return .none
        case .refused, .closed: return close()
        }
    }

    private mutating func close() -> Action {
        guard state != .closed else { return .none }
        state = .closed
        return .close
    }

    private mutating func abort() -> Action { close() == .close ? .abort : .none }
}
