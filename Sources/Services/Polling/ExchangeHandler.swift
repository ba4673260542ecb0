import NIOCore
import NIOTLS
import Proxy

/// One connection of a target: sends a request, reads the response, and is then free for the next. On its channel's event loop alone.
final class ExchangeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// A request under way, and who waits for its end.
    private struct Exchange {
        let request: ByteBuffer
        var reader: ResponseReader
        let owner: HTTPClient
    }

    private enum State {
        /// Connecting, or in the handshake.
        case opening
        /// The request waits for the handshake.
        case queued(Exchange)
        case idle
        case exchanging(Exchange)
        case closed(PollFailure)
    }

    private var state: State
    /// Whether any byte has come since the last request.
    private var hasReceived = false
    private var context: ChannelHandlerContext?

    /// - Parameter awaitsHandshake: whether a TLS handler lies below.
    init(awaitsHandshake: Bool) {
        self.state = awaitsHandshake ? .opening : .idle
    }

    /// Whether a request may be sent.
    var isIdle: Bool {
        if case .idle = state { context?.channel.isActive ?? false } else { false }
    }

    /// How far the exchange has come.
    var phase: PollFailure.Phase {
        switch state {
        case .opening, .queued: .handshake
        case .exchanging(let exchange): exchange.reader.phase
        case .idle, .closed: .awaitingHead
        }
    }

    /// Whether the exchange under way has had no byte of a response.
    var hasReceivedNothing: Bool { !hasReceived }

    /// Sends `request` as soon as the connection is ready; `owner` is told the end, once.
    func begin(_ request: ByteBuffer, reader: ResponseReader, for owner: HTTPClient) {
        let exchange = Exchange(request: request, reader: reader, owner: owner)
        switch state {
        case .opening:
            state = .queued(exchange)
        case .idle:
            send(exchange)
        case .closed(let failure):
            owner.exchangeEnded(ResponseReader.End(answer: .failure(failure), isReusable: false), on: self)
        case .queued, .exchanging:
            assertionFailure("one exchange at a time")
        }
    }

    /// Closes the connection without telling the owner.
    /// - Returns: the failure that was already certain, if any.
    @discardableResult
    func abandon() -> PollFailure? {
        var failure: PollFailure?
        if case .exchanging(let exchange) = state { failure = exchange.reader.certainFailure }
        state = .closed(.stopped)
        context?.close(promise: nil)
        return failure
    }

    /// When the connection is closed.
    var closeFuture: EventLoopFuture<Void>? { context?.channel.closeFuture }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent {
            switch state {
            case .opening: state = .idle
            case .queued(let exchange): send(exchange)
            case .idle, .exchanging, .closed: break
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasReceived = true
        guard case .exchanging(var exchange) = state else {
            // Nobody asked: the peer does not speak HTTP as we do.
            fail(.notHTTP("unexpected data"), context: context)
            return
        }
        // The reader's buffer must have one owner while it grows.
        state = .idle
        let end = exchange.reader.take(unwrapInboundIn(data))
        guard let end else {
            state = .exchanging(exchange)
            return
        }
        finish(exchange, end, context: context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(PollFailure(connectionError: error, phase: phase), context: context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(nil, context: context)
        context.fireChannelInactive()
    }

    private func send(_ exchange: Exchange) {
        guard let context else { return }
        state = .exchanging(exchange)
        hasReceived = false
        context.writeAndFlush(wrapOutboundOut(exchange.request), promise: nil)
    }

    private func finish(_ exchange: Exchange, _ end: ResponseReader.End, context: ChannelHandlerContext) {
        if end.isReusable, context.channel.isActive {
            state = .idle
        } else {
            state = .closed(.connectionEnded(.awaitingHead, reason: nil))
            context.close(promise: nil)
        }
        exchange.owner.exchangeEnded(end, on: self)
    }

    /// - Parameter failure: `nil` for the peer's plain end of the connection.
    private func fail(_ failure: PollFailure?, context: ChannelHandlerContext) {
        let before = state
        state = .closed(failure ?? .connectionEnded(phase, reason: nil))
        if context.channel.isActive { context.close(promise: nil) }
        switch before {
        case .exchanging(var exchange):
            guard let end = exchange.reader.end(by: failure) else { return }
            exchange.owner.exchangeEnded(end, on: self)
        case .queued(let exchange):
            let failure = failure ?? .connectionEnded(.handshake, reason: nil)
            exchange.owner.exchangeEnded(ResponseReader.End(answer: .failure(failure), isReusable: false), on: self)
        case .closed(let first):
            // The first reason is the telling one.
            state = .closed(first)
        case .opening, .idle:
            break
        }
    }
}
