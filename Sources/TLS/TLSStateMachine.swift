import NIOCore

/// The states of a connection and what follows from each event. It holds no resource and does nothing itself: `TLSHandler` carries out the
/// actions that its methods return.
///
/// Once the handshake is complete the two directions end independently, each with its close_notify (RFC 8446 section 6.1).
struct TLSStateMachine {
    enum Input: Equatable {
        case open
        /// close_notify came: everything that the peer sent has arrived.
        case closedByPeer
        /// Nothing more is delivered: the application ended it, or it broke.
        case closedHere
    }

    enum Output: Equatable {
        case open
        /// The queued bytes are sent, then close_notify.
        case closing
        /// close_notify was sent.
        case closed
    }

    enum State: Equatable {
        /// The channel is not active yet.
        case idle
        case handshaking
        case open(Input, Output)
        /// The queued bytes are sent, then close_notify, then the transport is closed.
        case closing(peerHasEnded: Bool)
        /// The reason of the refusal was sent. The peer's further bytes are discarded for a moment, because closing with unread bytes
        /// would reset the connection, and the reset may overtake the reason.
        case lingering(discardable: Int)
        /// Only the transport is still to be closed.
        case closed
    }

    private(set) var state = State.idle
    private var closesOutputAfterHandshake = false

    // MARK: What is possible now

    var isHandshaking: Bool {
        if case .handshaking = state { true } else { false }
    }

    /// Whether plaintext goes to the application.
    var deliversInput: Bool {
        if case .open(.open, _) = state { true } else { false }
    }

    var wantsCiphertext: Bool {
        isHandshaking || deliversInput
    }

    /// Whether queued plaintext may be encrypted.
    var encrypts: Bool {
        switch state {
        case .open(_, .open), .open(_, .closing), .closing: true
        case .idle, .handshaking, .open(_, .closed), .lingering, .closed: false
        }
    }

    /// Why a write is refused; `nil` when it may be queued.
    var writeRefusal: ChannelError? {
        switch state {
        case .idle, .handshaking: closesOutputAfterHandshake ? .outputClosed : nil
        case .open(_, .open): nil
        case .open(_, .closing), .open(_, .closed): .outputClosed
        case .closing, .lingering, .closed: .ioOnClosedChannel
        }
    }

    /// Whether the transport will be closed without another call.
    var isClosing: Bool {
        switch state {
        case .closing, .lingering, .closed: true
        case .idle, .handshaking, .open: false
        }
    }

    var isLingering: Bool {
        if case .lingering = state { true } else { false }
    }

    // MARK: What happens

    /// The channel is active.
    /// - Returns: whether the handshake begins now.
    mutating func start() -> Bool {
        guard case .idle = state else { return false }
        state = .handshaking
        return true
    }

    mutating func handshakeCompleted() {
        guard case .handshaking = state else { return }
        state = .open(.open, closesOutputAfterHandshake ? .closing : .open)
    }

    enum CloseNotifyAction: Equatable {
        case nothing
        /// Tell the application that the input ended.
        case announceEnd
        /// Tell the application, and close, because half-open connections are switched off.
        case announceEndAndClose
        /// Both directions have ended: tell the application, and close.
        case announceEndOfBothAndClose
    }

    /// - Parameter staysHalfOpen: whether the application may still answer after the peer's end.
    mutating func closeNotifyReceived(staysHalfOpen: Bool) -> CloseNotifyAction {
        guard case .open(.open, let output) = state else { return .nothing }
        state = .open(.closedByPeer, output)
        if output == .closed { return .announceEndOfBothAndClose }
        return staysHalfOpen ? .announceEnd : .announceEndAndClose
    }

    enum TransportInputClosedAction: Equatable {
        /// The application knows about the end, or does not need to.
        case swallow
        /// The application ended the input itself; forward the event.
        case forward
        /// Announce the error, then close, sending what is queued.
        case announceTruncationAndClose
        case fail(TLSError)
        case closeNow
    }

    /// The peer sent its last byte (TCP FIN), while the other direction may still be open.
    mutating func transportInputClosed() -> TransportInputClosedAction {
        switch state {
        case .idle, .closing, .closed, .open(.closedByPeer, _): return .swallow
        case .handshaking: return .fail(.closedDuringHandshake)
        case .open(.closedHere, _): return .forward
        case .open(.open, let output):
            state = .open(.closedHere, output)
            return .announceTruncationAndClose
        case .lingering:
            state = .closed
            return .closeNow
        }
    }

    /// The transport is gone.
    /// - Returns: the error that this is, if it is one.
    mutating func transportClosed() -> TLSError? {
        defer { state = .closed }
        switch state {
        case .handshaking: return .closedDuringHandshake
        case .open(.open, _): return .truncated
        case .idle, .open, .closing, .lingering, .closed: return nil
        }
    }

    enum CloseAction: Equatable {
        /// Close the transport in this way, at once.
        case forward
        /// Send what is queued, then call `drained()`.
        case drain
        /// The transport is closed later without another call.
        case wait
        case refuse(ChannelError)
    }

    /// The application closes everything.
    mutating func closeAll() -> CloseAction {
        switch state {
        case .open(let input, .open), .open(let input, .closing):
            state = .closing(peerHasEnded: input == .closedByPeer)
            return .drain
        case .closing, .lingering, .closed:
            return .wait
        case .idle, .handshaking, .open(_, .closed):
            state = .closed
            return .forward
        }
    }

    /// The application closes the transport at once.
    mutating func abort() {
        state = .closed
    }

    /// The application sends no more.
    mutating func closeOutput() -> CloseAction {
        switch state {
        case .idle, .handshaking:
            guard !closesOutputAfterHandshake else { return .refuse(.outputClosed) }
            closesOutputAfterHandshake = true
            return .wait
        case .open(let input, .open):
            state = .open(input, .closing)
            return .drain
        case .open: return .refuse(.outputClosed)
        case .closing, .lingering, .closed: return .refuse(.alreadyClosed)
        }
    }

    /// The application reads no more.
    mutating func closeInput() {
        guard case .open(.open, let output) = state else { return }
        state = .open(.closedHere, output)
    }

    enum DrainedAction: Equatable {
        case nothing
        case sendCloseNotifyAndCloseOutput
        case sendCloseNotifyAndClose(peerHasEnded: Bool)
    }

    /// Nothing is queued for sending.
    mutating func drained() -> DrainedAction {
        switch state {
        case .closing(let peerHasEnded):
            state = .closed
            return .sendCloseNotifyAndClose(peerHasEnded: peerHasEnded)
        case .open(.closedByPeer, .closing):
            state = .closed
            return .sendCloseNotifyAndClose(peerHasEnded: true)
        case .open(let input, .closing):
            state = .open(input, .closed)
            return .sendCloseNotifyAndCloseOutput
        case .idle, .handshaking, .open, .lingering, .closed:
            return .nothing
        }
    }

    /// The connection cannot go on.
    /// - Parameter discardable: how many bytes of the peer are discarded while it reads the reason; `nil` when no reason is sent.
    /// - Returns: whether the application does not know it yet.
    mutating func fail(discarding discardable: Int? = nil) -> Bool {
        switch state {
        case .closed, .lingering: return false
        case .idle, .handshaking, .open, .closing:
            state = discardable.map { .lingering(discardable: $0) } ?? .closed
            return true
        }
    }

    /// Bytes were received that are not used any more.
    /// - Returns: whether they are too many, so that the transport must be closed at once.
    mutating func discard(_ count: Int) -> Bool {
        guard case .lingering(let discardable) = state else { return false }
        guard count <= discardable else {
            state = .closed
            return true
        }
        state = .lingering(discardable: discardable - count)
        return false
    }
}
