import Logging
import NIOCore
import Proxy
import TLS

/// Feeds a connection's bytes to its decoder and what comes out to the store. Success is silent; a refusal is one line, then the end.
final class PushHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case receiving
        /// The error line is written; what still comes is thrown away, so that a reset does not eat the line.
        case refused(discardable: Int)
        case closed
    }

    /// How long and how much is read on after a refusal: enough for a sender that first writes all of a large message.
    static let lingerTime = TimeAmount.seconds(2)
    private static let lingerBytes = 64 << 20

    private let intake: Intake
    /// What incomplete messages may take together.
    private let inflight: ByteBudget
    /// Made with the first message.
    private var sender: Sender?
    private let source: Source
    private let metrics: ListenerMetrics
    private let format: PushFormat
    private let log: ConnectionLog
    private let idleTimeout: TimeAmount
    /// Why nothing is taken on this connection, whatever it sends.
    private let refusal: Rejection?
    /// `nil` once it has thrown, or the connection has ended: what it holds is freed then.
    private var decoder: (any PushDecoder)?
    private var state = State.receiving
    private var drain: ConnectionDrainEvent?
    /// Whether anything has come at all.
    private var hasReceived = false
    /// Whether the peer has ended its side.
    private var inputEnded = false
    /// Bytes of an incomplete message that this connection has reserved.
    private var reserved = 0
    private var timer: DeadlineTimer?

    init(
        intake: Intake, inflight: ByteBudget, source: Source, metrics: ListenerMetrics, log: ConnectionLog, format: PushFormat,
        maxMessageSize: ByteCount,
        idleTimeout: TimeAmount,
        refusal: Rejection? = nil
    ) {
        self.intake = intake
        self.inflight = inflight
        self.source = source
        self.metrics = metrics
        self.format = format
        self.log = log
        self.idleTimeout = idleTimeout
        self.refusal = refusal
        decoder = format.makeDecoder(maxMessageSize: maxMessageSize)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        timer = DeadlineTimer(eventLoop: context.eventLoop) { [unowned self] in expired(context) }
        if context.channel.isActive { timer?.set(idleTimeout) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
    }

    func channelActive(context: ChannelHandlerContext) {
        timer?.set(idleTimeout)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        switch state {
        case .receiving:
            hasReceived = true
            timer?.set(drain?.pause(isNew: false) ?? idleTimeout)
            decoder?.feed(bytes)
            do {
                let applied = try applyComplete(context)
                // What it has begun since is under rules that no longer hold.
                if applied, drain == .accessChanged { close(context) }
            } catch {
                refuse(error, context)
            }
        case .refused(let discardable):
            guard bytes.readableBytes <= discardable else { return close(context) }
            state = .refused(discardable: discardable - bytes.readableBytes)
        case .closed: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if drain != nil, hasReceived, case .receiving = state, heldBytes == 0 { close(context) }
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: inputClosed(context)
        case let event as ConnectionDrainEvent: drain(event, context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case TLSError.truncated? = error as? TLSError {
            // Every complete message stays applied; whether the last one is whole the decoder knows.
            inputClosed(context)
        } else {
            log.failed(error, peer: context.channel)
            close(context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .receiving = state { reportCutShort(context) }
        end()
        context.fireChannelInactive()
    }

    // MARK: - Messages

    /// - Returns: whether there was any.
    private func applyComplete(_ context: ChannelHandlerContext) throws(Rejection) -> Bool {
        if let refusal { throw refusal }
        var applied = false
        while let push = try decoder?.next() {
            let sender = self.sender ?? Sender(peer: Sender.Peer(of: context.channel))
            self.sender = sender
            try intake.apply(push, from: sender, through: source)
            metrics.countReceived(format)
            applied = true
        }
        try reserve(heldBytes)
        return applied
    }

    private func reserve(_ bytes: Int) throws(Rejection) {
        if bytes > reserved {
            guard inflight.reserve(bytes - reserved) else { throw .tooMuchInFlight(limit: inflight.limit) }
        } else if bytes < reserved {
            inflight.release(reserved - bytes)
        }
        reserved = bytes
    }

    // MARK: - The end of a connection

    private func inputClosed(_ context: ChannelHandlerContext) {
        inputEnded = true
        guard case .receiving = state else { return close(context) }
        do {
            try decoder?.finish()
            // Closing our side tells the sender that all was applied.
            close(context)
        } catch {
            refuse(error, context)
        }
    }

    private func drain(_ event: ConnectionDrainEvent, _ context: ChannelHandlerContext) {
        guard case .receiving = state else { return }
        drain = event
        // Not at once: a message that was sent just now may wait in the kernel, unread.
        if heldBytes == 0 { timer?.set(event.pause(isNew: !hasReceived)) }
    }

    private func expired(_ context: ChannelHandlerContext) {
        guard case .receiving = state, heldBytes > 0 else { return close(context) }
        if drain != nil {
            // A message has begun since: it may take until the listener's own deadline.
            timer?.set(idleTimeout)
        } else {
            refuse(.timedOut, context)
        }
    }

    private func refuse(_ rejection: Rejection, _ context: ChannelHandlerContext) {
        report(rejection, context)
        state = .refused(discardable: Self.lingerBytes)
        release()
        timer?.set(Self.lingerTime)
        let line = wrapOutboundOut(context.channel.allocator.buffer(string: "error: \(rejection.line)\n"))
        if inputEnded {
            // Nothing can come any more that would cause a reset.
            context.writeAndFlush(line).assumeIsolated().whenComplete { [self] _ in close(context) }
        } else {
            context.writeAndFlush(line, promise: nil)
            context.close(mode: .output, promise: nil)
        }
    }

    /// A connection that broke within a message: nobody is left to be told, but the log is.
    private func reportCutShort(_ context: ChannelHandlerContext) {
        do {
            try decoder?.finish()
        } catch {
            report(error, context)
        }
    }

    private func report(_ rejection: Rejection, _ context: ChannelHandlerContext) {
        metrics.countRejected(rejection)
        log.write(
            .warning, "message refused", peer: context.channel,
            [LogKey.reason: "\(rejection.reason)", LogKey.error: "\(rejection.line)"])
    }

    private func close(_ context: ChannelHandlerContext) {
        if case .closed = state { return }
        state = .closed
        context.close(mode: .all, promise: nil)
    }

    private func end() {
        state = .closed
        release()
        timer?.stop()
        timer = nil
    }

    /// Bytes of a message that is not complete yet.
    private var heldBytes: Int { decoder?.bufferedBytes ?? 0 }

    private func release() {
        decoder = nil
        if reserved > 0 { inflight.release(reserved) }
        reserved = 0
    }
}
