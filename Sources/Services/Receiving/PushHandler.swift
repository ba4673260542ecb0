import Logging
import NIOCore
import Proxy
import TLS

/// Carries out the actions of `PushStateMachine` for one connection. It answers nothing on success, and one line on a refusal.
final class PushHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What the receiver's connections share.
    struct Shared: Sendable {
        let settings: SettingsInForce<ReceiverSettings>
        let decoding: PushDecoding
        /// The limit of the memory of all incomplete messages.
        let inflight: ByteBudget
        let log: ConnectionLog
    }

    private let shared: Shared
    private var machine: PushStateMachine
    /// `nil` after a refusal or the end of the connection, to free its memory.
    private var stream: PushStream?
    /// Why the first read stopped, until the connection is active.
    private var firstStop: PushStream.Stop?
    /// The message that will be decoded on another thread, and the size of the one that is being decoded there.
    private var large: UndecodedPush?
    private var largeSize = 0
    /// Counts what this connection holds.
    private var share: BudgetShare
    /// Whether a read was asked for while none was allowed.
    private var isReadHeld = false
    /// Whether a stop waits for messages of this connection, which is gone.
    private var isUnfinished = false
    private var turns: EventLoopTurns?
    private var timer: DeadlineTimer?
    /// Set in `handlerAdded`. Kept after the connection has ended, for messages that are still decoded.
    private var channel: (any Channel)?
    /// `nil` once the connection is gone; its complete messages are applied nevertheless.
    private var context: ChannelHandlerContext?

    /// - Parameter firstStop: why the first read of the connection stopped, if `FirstReadHandler` made one.
    init(_ stream: PushStream, _ shared: Shared, firstStop: PushStream.Stop? = nil) {
        self.stream = stream
        self.shared = shared
        self.share = BudgetShare(of: shared.inflight)
        self.firstStop = firstStop
        machine = PushStateMachine(times: shared.settings.now.times, at: .now())
    }

    // MARK: - Events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        channel = context.channel
        turns = shared.decoding.turns[context.eventLoop]
        timer = DeadlineTimer(eventLoop: context.eventLoop) { [unowned self] in perform(machine.deadlinePassed(at: now)) }
        machine = PushStateMachine(times: machine.times, at: now)
        if context.channel.isActive { start() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        channelLost()
    }

    func channelActive(context: ChannelHandlerContext) {
        start()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        // Determine the sender now: messages may be decoded after the connection has ended.
        _ = stream?.sender(of: context.channel)
        let settings = shared.settings.now
        machine.times = settings.times
        stream?.maxMessageSize = settings.maxMessageSize
        switch machine.received(bytes.readableBytes, at: now) {
        case .decode:
            stream?.feed(bytes)
            perform(.decode)
        case .keep:
            stream?.feed(bytes)
            perform(.none)
        case .discard: break
        case .close: perform(.close)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        let action = machine.readCompleted(at: now)
        if action != .none {
            // Close later. When the peer has ended its side, SwiftNIO still uses the channel after this call, and assumes that it is open.
            context.eventLoop.assumeIsolated().execute { [self] in perform(action) }
        }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if machine.reads { context.read() } else { isReadHeld = true }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: perform(machine.inputClosed())
        case let event as ConnectionDrainEvent:
            machine.drain(event, at: now)
            perform(.none)
        case is ConnectionCutEvent: perform(machine.cut(at: now))
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case TLSError.truncated? = error as? TLSError {
            // Every complete message stays applied. The decoder finds out whether the last one is complete.
            perform(machine.inputClosed())
        } else {
            shared.log.failed(error, peer: context.channel)
            perform(machine.failed())
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        channelLost()
        context.fireChannelInactive()
    }

    private var now: NIODeadline { channel?.eventLoop.now ?? .now() }

    private func start() {
        guard let firstStop else { return perform(.none) }
        self.firstStop = nil
        _ = machine.received(0, at: now)
        stopped(firstStop, applied: false)
    }

    private func channelLost() {
        guard context != nil else { return }
        context = nil
        timer?.stop()
        timer = nil
        perform(machine.connectionLost())
        guard machine.isWorking else { return }
        isUnfinished = true
        shared.decoding.unfinished.begin()
    }

    // MARK: - Actions

    private func perform(_ action: PushStateMachine.Action) {
        switch action {
        case .none: break
        case .decode: return decode()
        case .yield: turns?.wait(of: QueuePeer(channel?.remoteAddress)) { [self] in perform(.decode) }
        case .decodeElsewhere: decodeElsewhere()
        case .finish: return finish()
        case .refuse(let rejection, let closes): refuse(rejection, closes: closes)
        case .report(let rejection):
            report(rejection)
            stream = nil
            context?.close(mode: .all, promise: nil)
        case .close:
            stream = nil
            context?.close(mode: .all, promise: nil)
        case .abort:
            stream = nil
            context?.abort()
        }
        if isUnfinished, !machine.isWorking {
            isUnfinished = false
            shared.decoding.unfinished.end()
        }
        if let rejection = reserve() { return perform(machine.refuse(rejection, at: now)) }
        if let deadline = machine.deadline { timer?.set(deadline) } else { timer?.clear() }
        if isReadHeld, machine.reads, let context {
            isReadHeld = false
            context.read()
        }
    }

    private func decode() {
        guard let channel, stream != nil else { return }
        let nextIsLast = machine.nextIsLast
        guard let result = turns?.take({ stream?.applyComplete(in: $0, of: channel, nextIsLast: nextIsLast) }) else {
            return stopped(.turnIsOver, applied: false)
        }
        if let result { stopped(result.stop, applied: result.applied) }
    }

    private func stopped(_ stop: PushStream.Stop, applied: Bool) {
        let reason: PushStateMachine.Stop
        switch stop {
        case .needsMore: reason = .needsMore(isWithinMessage: stream?.isWithinMessage ?? false)
        case .turnIsOver: reason = .turnIsOver
        case .rejected(let rejection): reason = .rejected(rejection)
        case .large(let message):
            large = message
            reason = .isLarge
        }
        perform(machine.decodingStopped(reason, applied: applied, at: now))
    }

    private func decodeElsewhere() {
        guard let message = large, let channel, let sender = stream?.sender(of: channel), let stream else { return }
        large = nil
        largeSize = message.size
        if let rejection = reserve() {
            largeSize = 0
            return perform(machine.refuse(rejection, at: now))
        }
        let (destination, format, eventLoop) = (stream.destination, stream.format, channel.eventLoop)
        let this = NIOLoopBound(self, eventLoop: eventLoop)
        shared.decoding.largeMessages.run(cost: destination.cost(of: message)) {
            let rejection = destination.apply(message, format, from: sender)
            eventLoop.execute { this.value.decodedElsewhere(rejection) }
        }
    }

    private func decodedElsewhere(_ rejection: Rejection?) {
        largeSize = 0
        perform(machine.decodedElsewhere(rejection, holdsMore: stream?.isWithinMessage ?? false, at: now))
    }

    private func finish() {
        do throws(Rejection) {
            try stream?.finish()
            perform(machine.finished(nil, at: now))
        } catch {
            perform(machine.finished(error, at: now))
        }
    }

    private func refuse(_ rejection: Rejection, closes: Bool) {
        report(rejection)
        stream = nil
        guard let context else { return }
        let answer = wrapOutboundOut(context.channel.allocator.buffer(string: rejection.answer))
        if closes {
            context.writeAndFlush(answer).assumeIsolated().whenComplete { [self] _ in perform(machine.answered()) }
        } else {
            context.writeAndFlush(answer, promise: nil)
            context.close(mode: .output, promise: nil)
        }
    }

    private func report(_ rejection: Rejection) {
        guard let channel, var stream else { return }
        stream.destination.metrics.countRejected(rejection)
        shared.log.write(
            .warning, "message refused", peer: stream.sender(of: channel).description,
            [LogKey.reason: "\(rejection.reason.rawValue)", LogKey.error: "\(rejection.line)"])
    }

    /// Counts the memory of this connection.
    /// - Returns: the reason if that is too much.
    private func reserve() -> Rejection? {
        share.hold((stream?.heldBytes ?? 0) + largeSize) ? nil : .tooMuchInFlight(limit: share.limit)
    }
}

extension Rejection {
    /// The answer to the sender: one line, or for HTTP a response with this line as its body.
    fileprivate var answer: String {
        let text = "error: \(line)\n"
        return if case .wrongFormat(.http, _) = self { PlainHTTPAnswer.badRequest(text) } else { text }
    }
}
