import Glibc
import HTTP
import NIOCore
import NIOPosix
import NIOTLS
import Proxy
import TLS

/// One connection to a target: sends a request, reads the response, and is then ready for the next. It carries out the actions of
/// `ClientConnection`. Used on its channel's event loop only.
final class TargetConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The response that is being read, and the closure for its result.
    private struct Exchange {
        var answer: PolledAnswer
        let ended: (PolledAnswer.Result) -> Void
    }

    private var machine: ClientConnection
    private var exchange: Exchange?
    private var context: ChannelHandlerContext?
    /// Counts bytes that are read and not parsed.
    private var share: BudgetShare
    /// Why the connection ended, for a request that comes too late.
    private var failure: PollFailure?
    private let givenReach: AddressReach?
    /// How far the address at the other end reaches.
    private(set) lazy var reach = givenReach ?? context?.channel.remoteAddress.map(AddressReach.init) ?? .network

    /// - Parameters:
    ///   - awaitsHandshake: whether a TLS handler lies below.
    ///   - reach: of the target's address, when another address is at the other end: a proxy's.
    ///   - budget: for all polls together.
    init(awaitsHandshake: Bool, reach: AddressReach?, budget: ByteBudget) {
        self.machine = ClientConnection(awaitsOpening: awaitsHandshake)
        self.givenReach = reach
        self.share = BudgetShare(of: budget)
    }

    /// Whether a request may be sent.
    var isIdle: Bool { machine.phase == .idle && context?.channel.isActive ?? false }

    /// Whether no byte of a response has arrived since the last request.
    var cameNothing: Bool { !machine.hasReceived }

    /// The phase of the exchange.
    var phase: PollFailure.Phase {
        switch machine.phase {
        case .opening: .handshake
        case .idle, .awaitingHead, .closed: .awaitingHead
        case .readingBody: .readingBody
        }
    }

    /// When the connection is closed.
    var closeFuture: EventLoopFuture<Void>? { context?.channel.closeFuture }

    /// Sends `request` as soon as the connection is ready. One request at a time.
    /// - Parameters:
    ///   - keepsConnection: whether the connection may serve another request afterwards.
    ///   - ended: called once, unless the connection is closed by `close`.
    func ask(
        _ request: ByteBuffer, keepsConnection: Bool, answer: PolledAnswer, ended: @escaping (PolledAnswer.Result) -> Void
    ) {
        exchange = Exchange(answer: answer, ended: ended)
        if machine.phase == .closed { return finish(.failure(failure ?? .connectionEnded(.awaitingHead, reason: nil))) }
        if let bytes = machine.send(request, keepsConnection: keepsConnection) { write(bytes) }
    }

    /// Closes the connection. An exchange under way ends without its result.
    /// - Returns: the failure that was already known, if any.
    @discardableResult
    func close() -> PollFailure? {
        // Closing calls `channelInactive` at once, which must find no exchange.
        let exchange = exchange
        self.exchange = nil
        shut()
        return exchange?.answer.certainFailure
    }

    // MARK: - Events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        _ = share.hold(0)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent, let request = machine.opened() { write(request) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        machine.receive(unwrapInboundIn(data))
        while true {
            switch machine.next() {
            case .wait:
                // One read is counted and never refused, so that a small answer is taken, in however many packets it comes.
                guard share.hold(machine.held, always: PassingReadBuffers.ofPolls.ordinary) else {
                    return end(.failure(.tooMuchInFlight(limit: share.limit)))
                }
                return
            case .head(let head):
                switch exchange?.answer.takeHead(head) {
                case .collectBody: break
                case .discardBody: machine.discardBody()
                case .stop, nil: return end(exchange?.answer.complete())
                }
            case .body(let piece):
                if exchange?.answer.takeBody(piece) != true { return end(exchange?.answer.complete()) }
            case .complete:
                _ = share.hold(machine.held, always: PassingReadBuffers.ofPolls.ordinary)
                return machine.phase == .closed ? end(exchange?.answer.complete()) : finish(exchange?.answer.complete())
            case .failed(let error):
                return end(.failure(PollFailure(error)))
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(by: PollFailure(connectionError: error, phase: phase))
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(by: nil)
        context.fireChannelInactive()
    }

    // MARK: - Actions

    private func write(_ bytes: ByteBuffer) {
        context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    /// The connection has ended or broken.
    /// - Parameter failure: why; `nil` for the plain end.
    private func end(by failure: PollFailure?) {
        let error = machine.ended(isClean: failure == nil)
        // The first reason is the cause of the later ones.
        self.failure = self.failure ?? failure
        guard let error else { return end(exchange?.answer.complete()) }
        end(exchange?.answer.brokenOff(by: failure ?? PollFailure(error), isFramed: error == .endedWithinBody(isFramed: true)))
    }

    /// Closes the connection, and ends the exchange under way with `result`.
    private func end(_ result: PolledAnswer.Result?) {
        // Closing calls `channelInactive` at once, which must find no exchange.
        let exchange = exchange
        self.exchange = nil
        shut()
        if let exchange, let result { exchange.ended(result) }
    }

    private func finish(_ result: PolledAnswer.Result?) {
        guard let exchange, let result else { return }
        self.exchange = nil
        exchange.ended(result)
    }

    private func shut() {
        machine.close()
        if let context, context.channel.isActive { context.close(promise: nil) }
    }
}

extension PollFailure {
    /// Translates an error on an open connection; `nil` if the connection ended without a known reason.
    init?(connectionError error: any Error, phase: Phase) {
        switch error {
        // Only a body can be cut short.
        case TLSError.truncated where phase != .readingBody: return nil
        case let error as TLSError: self.init(error)
        case let error as IOError: self = .connectionEnded(phase, reason: SystemError.text(error.errnoCode))
        case let error as ChannelError where error == .eof || error == .alreadyClosed || error == .ioOnClosedChannel: return nil
        default: self = .connectionEnded(phase, reason: "\(error)")
        }
    }

    /// Translates an error while connecting.
    init(connectError error: any Error, timeout: Duration) {
        switch error {
        case let error as IOError where error.errnoCode == ECONNREFUSED:
            self = .connectionRefused
        case let error as IOError:
            self = .couldNotConnect(SystemError.text(error.errnoCode))
        case ChannelError.connectTimeout:
            self = .timedOut(after: timeout, .connecting)
        case let error as NIOConnectionError:
            // There is one error for each address. The first is that of the preferred address, but a refusal is better: it shows that the
            // host is up.
            let failures = error.connectionErrors.map { PollFailure(connectError: $0.error, timeout: timeout) }
            if failures.contains(.connectionRefused) {
                self = .connectionRefused
            } else {
                self = failures.first ?? .timedOut(after: timeout, .connecting)
            }
        case let error as TLSError:
            self.init(error)
        default:
            self = .couldNotConnect("\(error)")
        }
    }

    private init(_ error: TLSError) {
        switch error {
        case .peerNotVerified(let reason): self = .certificateNotTrusted(reason)
        case .truncated: self = .truncatedByPeer
        default: self = .tlsFailed("\(error)")
        }
    }
}

/// The one connection that is kept to an origin between polls, shared by the targets there. Belongs to their event loop.
///
/// No target waits for another: while one polls, the others open connections of their own. A server may serve one connection at a time,
/// so a connection is kept only when no other is in use, and one that a target cannot use is closed before it opens its own.
final class KeptConnection<Connection: AnyObject, Terms: Equatable> {
    /// What a target does at the start of a poll.
    enum Beginning {
        /// Asks on the kept connection.
        case use(Connection)
        /// Opens a connection, after closing the one that another target has kept.
        case open(closing: Connection?)
    }

    private var idle: (connection: Connection, terms: Terms)?
    /// Polls under way, each with a connection or opening one.
    private var polls = 0
    /// Targets of this origin.
    private var targets = 0

    /// Whether no target has this origin any more.
    var isUnused: Bool { targets == 0 }

    /// A target of this origin starts.
    func join() { targets += 1 }

    /// A target of this origin has stopped.
    /// - Returns: the connection to close, if it was the last target.
    func leave() -> Connection? {
        targets -= 1
        return targets == 0 ? take() : nil
    }

    /// A target begins to poll. `end` must follow.
    /// - Parameter terms: the settings that the connection must have; `nil` if it must be new.
    func begin(_ terms: Terms?) -> Beginning {
        polls += 1
        guard let idle else { return .open(closing: nil) }
        self.idle = nil
        return idle.terms == terms ? .use(idle.connection) : .open(closing: idle.connection)
    }

    /// A target's poll does not need its connection any more.
    /// - Parameter connection: the connection that may be kept, if any.
    /// - Returns: the connection to close, if it is not kept.
    func end(_ connection: Connection?, _ terms: Terms) -> Connection? {
        polls -= 1
        guard let connection else { return nil }
        guard polls == 0, targets > 0, idle == nil else { return connection }
        idle = (connection, terms)
        return nil
    }

    /// Removes and returns the idle connection, for a request to an untrusted hop.
    func take() -> Connection? {
        defer { idle = nil }
        return idle?.connection
    }
}

/// What the targets of one event loop share. Belongs to it.
final class PollingContext {
    typealias OriginConnection = KeptConnection<TargetConnection, PolledTarget.ConnectionTerms>

    let eventLoop: any EventLoop
    /// Wakes the loops of all targets.
    let alarms: AlarmClock
    private var origins: [TargetURL.Origin: OriginConnection] = [:]

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        alarms = AlarmClock(eventLoop: eventLoop)
    }

    /// A target of this origin starts. `leave` must follow.
    func join(_ origin: TargetURL.Origin) -> OriginConnection {
        let shared = origins[origin] ?? OriginConnection()
        origins[origin] = shared
        shared.join()
        return shared
    }

    /// A target of this origin has stopped.
    /// - Returns: the connection to close, if no other target has this origin.
    func leave(_ origin: TargetURL.Origin) -> TargetConnection? {
        let connection = origins[origin]?.leave()
        if origins[origin]?.isUnused == true { origins[origin] = nil }
        return connection
    }

    /// Removes and returns the idle connection to an origin, if there is one.
    func takeIdleConnection(to origin: TargetURL.Origin) -> TargetConnection? { origins[origin]?.take() }
}
