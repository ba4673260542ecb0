import NIOCore
import Testing

@testable import TLS

/// Every state with every event: the action that follows, and the next state. An event that a table does not list changes nothing.
struct TLSStateMachineTests {
    private typealias State = TLSStateMachine.State

    private static let open: [State] = [
        .open(.open, .open), .open(.open, .closing), .open(.open, .closed),
        .open(.closedByPeer, .open), .open(.closedByPeer, .closing), .open(.closedByPeer, .closed),
        .open(.closedHere, .open), .open(.closedHere, .closing), .open(.closedHere, .closed),
    ]
    private static let lingering = State.lingering(discardable: 100)
    private static let closing = [State.closing(peerHasEnded: false), .closing(peerHasEnded: true)]
    private static let ended = closing + [lingering, .closed]
    private static let all = [.idle, .handshaking] + open + ended

    /// A machine that got into the state by events.
    private func machine(in state: State) -> TLSStateMachine {
        var machine = TLSStateMachine()
        func connect() {
            _ = machine.start()
            machine.handshakeCompleted()
        }
        func end(_ output: TLSStateMachine.Output) {
            if output != .open { _ = machine.closeOutput() }
            if output == .closed { _ = machine.drained() }
        }
        switch state {
        case .idle: break
        case .handshaking: _ = machine.start()
        case .open(let input, .closed) where input == .closedByPeer:
            connect()
            end(.closed)
            _ = machine.closeNotifyReceived(staysHalfOpen: true)
        case .open(let input, let output):
            connect()
            if input == .closedByPeer { _ = machine.closeNotifyReceived(staysHalfOpen: true) }
            if input == .closedHere { machine.closeInput() }
            end(output)
        case .closing(let peerHasEnded):
            connect()
            if peerHasEnded { _ = machine.closeNotifyReceived(staysHalfOpen: true) }
            _ = machine.closeAll()
        case .lingering(let discardable):
            _ = machine.start()
            _ = machine.fail(discarding: discardable)
        case .closed:
            _ = machine.fail()
        }
        #expect(machine.state == state)
        return machine
    }

    /// - Parameters:
    ///   - otherwise: what follows in all states that `changes` does not list; they do not change.
    ///   - changes: for each state what follows, and the next state.
    private func check<Result: Equatable>(
        otherwise: Result, _ changes: [(State, Result, State)], sourceLocation: SourceLocation = #_sourceLocation,
        _ input: (inout TLSStateMachine) -> Result
    ) {
        for state in Self.all {
            var machine = machine(in: state)
            let (result, next) = changes.first { $0.0 == state }.map { ($0.1, $0.2) } ?? (otherwise, state)
            #expect(input(&machine) == result, "in \(state)", sourceLocation: sourceLocation)
            #expect(machine.state == next, "from \(state)", sourceLocation: sourceLocation)
        }
    }

    @Test("a handshake starts once")
    func start() {
        check(otherwise: false, [(.idle, true, .handshaking)]) { $0.start() }
    }

    @Test("only a handshake can be completed")
    func handshakeCompleted() {
        check(otherwise: true, [(.handshaking, true, .open(.open, .open))]) {
            $0.handshakeCompleted()
            return true
        }
    }

    @Test("an output that was closed before the handshake is closed after it")
    func outputClosedBefore() {
        for state in [State.idle, .handshaking] {
            var machine = machine(in: state)
            #expect(machine.closeOutput() == .wait)
            #expect(machine.writeRefusal == .outputClosed)
            #expect(machine.closeOutput() == .refuse(.outputClosed))
            _ = machine.start()
            machine.handshakeCompleted()
            #expect(machine.state == .open(.open, .closing))
        }
    }

    @Test("the peer's close_notify ends the input, and the connection where half-closed ones are not allowed")
    func closeNotify() {
        check(
            otherwise: .nothing,
            [
                (.open(.open, .open), .announceEnd, .open(.closedByPeer, .open)),
                (.open(.open, .closing), .announceEnd, .open(.closedByPeer, .closing)),
                (.open(.open, .closed), .announceEndOfBothAndClose, .open(.closedByPeer, .closed)),
            ]
        ) { $0.closeNotifyReceived(staysHalfOpen: true) }
        check(
            otherwise: .nothing,
            [
                (.open(.open, .open), .announceEndAndClose, .open(.closedByPeer, .open)),
                (.open(.open, .closing), .announceEndAndClose, .open(.closedByPeer, .closing)),
                (.open(.open, .closed), .announceEndOfBothAndClose, .open(.closedByPeer, .closed)),
            ]
        ) { $0.closeNotifyReceived(staysHalfOpen: false) }
    }

    @Test("the end of TCP without close_notify is a truncation while input is open")
    func transportInputClosed() {
        check(
            otherwise: .swallow,
            [
                (.handshaking, .fail(.closedDuringHandshake), .handshaking),
                (.open(.open, .open), .announceTruncationAndClose, .open(.closedHere, .open)),
                (.open(.open, .closing), .announceTruncationAndClose, .open(.closedHere, .closing)),
                (.open(.open, .closed), .announceTruncationAndClose, .open(.closedHere, .closed)),
                (.open(.closedHere, .open), .forward, .open(.closedHere, .open)),
                (.open(.closedHere, .closing), .forward, .open(.closedHere, .closing)),
                (.open(.closedHere, .closed), .forward, .open(.closedHere, .closed)),
                (Self.lingering, .closeNow, .closed),
            ]
        ) { $0.transportInputClosed() }
    }

    @Test("a lost transport is an error while input is open")
    func transportClosed() {
        let errors: [(State, TLSError)] =
            [(.handshaking, .closedDuringHandshake)] + Self.open.prefix(3).map { ($0, .truncated) }
        check(
            otherwise: nil, Self.all.map { state in (state, errors.first { $0.0 == state }?.1, State.closed) }
        ) { $0.transportClosed() }
    }

    @Test("a close sends what is queued; another one waits for the same end")
    func closeAll() {
        let drains: [State] = [.open(.open, .open), .open(.open, .closing), .open(.closedHere, .open), .open(.closedHere, .closing)]
        let drainsAfterPeer: [State] = [.open(.closedByPeer, .open), .open(.closedByPeer, .closing)]
        let rest: [State] =
            [.idle, .handshaking, .open(.open, .closed), .open(.closedByPeer, .closed), .open(.closedHere, .closed)]
        check(
            otherwise: .wait,
            drains.map { ($0, .drain, .closing(peerHasEnded: false)) }
                + drainsAfterPeer.map { ($0, .drain, .closing(peerHasEnded: true)) } + rest.map { ($0, .forward, .closed) }
        ) { $0.closeAll() }
    }

    @Test("an abort closes in every state")
    func abort() {
        check(otherwise: true, Self.all.map { ($0, true, .closed) }) {
            $0.abort()
            return true
        }
    }

    @Test("the output is closed once")
    func closeOutput() {
        check(
            otherwise: .refuse(.outputClosed),
            [(.idle, .wait, .idle), (.handshaking, .wait, .handshaking)]
                + [TLSStateMachine.Input.open, .closedByPeer, .closedHere].map { (.open($0, .open), .drain, .open($0, .closing)) }
                + Self.ended.map { ($0, .refuse(.alreadyClosed), $0) }
        ) { $0.closeOutput() }
    }

    @Test("the input is closed only while it is open")
    func closeInput() {
        check(
            otherwise: true,
            [TLSStateMachine.Output.open, .closing, .closed].map { (.open(.open, $0), true, .open(.closedHere, $0)) }
        ) {
            $0.closeInput()
            return true
        }
    }

    @Test("close_notify follows the last byte, once")
    func drained() {
        check(
            otherwise: .nothing,
            [
                (.open(.open, .closing), .sendCloseNotifyAndCloseOutput, .open(.open, .closed)),
                (.open(.closedHere, .closing), .sendCloseNotifyAndCloseOutput, .open(.closedHere, .closed)),
                (.open(.closedByPeer, .closing), .sendCloseNotifyAndClose(peerHasEnded: true), .closed),
                (.closing(peerHasEnded: false), .sendCloseNotifyAndClose(peerHasEnded: false), .closed),
                (.closing(peerHasEnded: true), .sendCloseNotifyAndClose(peerHasEnded: true), .closed),
            ]
        ) { $0.drained() }
    }

    @Test("a failure is reported once, and the connection lingers where the peer gets a reason")
    func fail() {
        let alive = [State.idle, .handshaking] + Self.open + Self.closing
        check(otherwise: false, alive.map { ($0, true, .closed) }) { $0.fail() }
        let lingering = State.lingering(discardable: 5)
        check(otherwise: false, alive.map { ($0, true, lingering) }) { $0.fail(discarding: 5) }
    }

    @Test("bytes that come while lingering are discarded up to the limit")
    func discard() {
        check(
            otherwise: false,
            [(Self.lingering, false, .lingering(discardable: 0))]
        ) { $0.discard(100) }
        check(otherwise: false, [(Self.lingering, true, .closed)]) { $0.discard(101) }
    }

    @Test("what is possible in each state")
    func possibilities() {
        func states(where isSo: (TLSStateMachine) -> Bool) -> [State] { Self.all.filter { isSo(machine(in: $0)) } }
        #expect(states { $0.isHandshaking } == [.handshaking])
        #expect(states { $0.deliversInput } == Array(Self.open.prefix(3)))
        #expect(states { $0.wantsCiphertext } == [.handshaking] + Self.open.prefix(3))
        #expect(states { $0.encrypts } == Self.open.filter { if case .open(_, .closed) = $0 { false } else { true } } + Self.closing)
        #expect(states { $0.isClosing } == Self.ended)
        #expect(states { $0.isLingering } == [Self.lingering])
        #expect(states { $0.writeRefusal == .ioOnClosedChannel } == Self.ended)
        #expect(states { $0.writeRefusal == .outputClosed } == Self.open.filter { if case .open(_, .open) = $0 { false } else { true } })
    }
}
