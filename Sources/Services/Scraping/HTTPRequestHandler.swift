import HTTP
import Logging
import NIOCore
import NIOTLS
import Proxy
import TLS

/// One HTTP/1 connection of the scrape side: bytes to requests, responses to bytes, one exchange after another.
///
/// While an answer is being made or taken, nothing more is read: a client that asks faster than it takes is slowed down, and costs no memory.
final class HTTPRequestHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private enum State {
        /// Between requests, or within one.
        case reading
        /// The responder has promised an answer.
        case answering
        /// The response is on its way.
        case writing(OutgoingResponse)
        /// After an error: what still comes is thrown away, so that a reset does not eat the answer.
        case lingering(discardable: Int)
        case closed
    }

    /// The channel's own buffer: enough pieces for a good `writev`, little enough for thousands of slow readers.
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 128 << 10, high: 512 << 10)
    private static let lingerTime = TimeAmount.seconds(2)
    private static let lingerBytes = 1 << 20
    /// What may wait to be read while an answer is on its way; the kernel hands over more only when the client has ended its side.
    private static let maxWaiting = 256 << 10

    private let responder: any Responder
    private let requests: RequestMetrics
    private let date: DateText
    private let log: ConnectionLog
    private let settings: ScrapeSettings
    private let isTLS: Bool
    /// No route takes a body: what comes is read past, up to this.
    private static let maxBody = 64 << 10
    private var decoder = RequestDecoder(maxBody: maxBody)
    private var waiting = PendingBytes()
    /// The head of the request whose body is being read past.
    private var head: RequestHead?
    /// The path of the request that is answered; `nil` when it could not be read.
    private var path: String?
    private var state = State.reading
    private var isReadHeld = false
    /// Whether the peer has ended its side.
    private var inputEnded = false
    private var drain: ConnectionDrainEvent?
    /// Whether a request has been answered.
    private var hasAnswered = false
    /// Guards against re-entry: a flush calls `channelWritabilityChanged` before it returns.
    private var isProceeding = false
    /// Whether the time for a head is running since its first byte.
    private var isHeadTimed = false
    private var timer: DeadlineTimer?
    private var peer = Peer.unknown

    init(responder: any Responder, requests: RequestMetrics, date: DateText, log: ConnectionLog, settings: ScrapeSettings, isTLS: Bool) {
        self.responder = responder
        self.requests = requests
        self.date = date
        self.log = log
        self.settings = settings
        self.isTLS = isTLS
    }

    func handlerAdded(context: ChannelHandlerContext) {
        peer = Peer(address: context.channel.remoteAddress)
        timer = DeadlineTimer(eventLoop: context.eventLoop) { [unowned self] in expired(context) }
        if context.channel.isActive { began() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
    }

    func channelActive(context: ChannelHandlerContext) {
        began()
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        switch state {
        case .closed: return
        case .lingering(let discardable):
            guard bytes.readableBytes <= discardable else { return close(context) }
            state = .lingering(discardable: discardable - bytes.readableBytes)
        case .reading, .answering, .writing:
            waiting.append(bytes)
            proceed(context)
            waiting.releaseIfEmpty()
            if waiting.held > Self.maxWaiting { close(context) }
        }
    }

    func read(context: ChannelHandlerContext) {
        switch state {
        case .answering, .writing: isReadHeld = true
        case .reading, .lingering, .closed: context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        proceed(context)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            inputEnded = true
            closeIfDone(context)
        case let event as ConnectionDrainEvent:
            // What has changed once stays so: a listener that closes later is no reason to wait.
            if drain != .accessChanged { drain = event }
            closeIfDone(context)
        case TLSUserEvent.handshakeCompleted:
            timer?.set(drain?.pause(isNew: true) ?? settings.headerTimeout)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case TLSError.truncated? = error as? TLSError {
            // What was asked for was asked for: the answer may still find its reader.
            inputEnded = true
            closeIfDone(context)
        } else {
            log.failed(error, peer: context.channel)
            close(context)
        }
    }

    // MARK: - Exchanges

    /// Reads and answers as far as it goes without waiting. The only loop.
    private func proceed(_ context: ChannelHandlerContext) {
        guard !isProceeding else { return }
        isProceeding = true
        defer { isProceeding = false }
        while true {
            switch state {
            case .reading: guard readNext(context) else { return }
            case .writing: guard writeMore(context) else { return }
            case .answering, .lingering, .closed: return
            }
        }
    }

    /// - Returns: whether there may be more to do at once.
    private func readNext(_ context: ChannelHandlerContext) -> Bool {
        do throws(RequestError) {
            switch try decoder.next(&waiting.bytes) {
            case .incomplete:
                if inputEnded { close(context) } else { timeHead() }
                return false
            case .head(let head):
                self.head = head
                if head.expectsContinue, head.framing != .none, waiting.isEmpty {
                    context.writeAndFlush(wrapOutboundOut(ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n")), promise: nil)
                }
            case .body: break
            case .end:
                guard let head else { return false }
                self.head = nil
                answer(head, context)
            }
        } catch {
            write(.text(error.status, error.reason), isHTTP10: false, end: .linger, context)
        }
        return true
    }

    private func answer(_ head: RequestHead, _ context: ChannelHandlerContext) {
        let request: Request
        do {
            request = try Request(head, isTLS: isTLS, peer: peer)
        } catch {
            return write(error.response, answering: head, context)
        }
        path = request.path
        switch responder.respond(to: request, on: context.eventLoop) {
        case .now(let response):
            audit(request, response, context)
            write(response, answering: head, context)
        case .later(let future):
            state = .answering
            timer?.clear()
            future.assumeIsolated().whenComplete { [self] result in
                guard case .answering = state else { return }
                let response = (try? result.get()) ?? .text(500, "internal server error")
                audit(request, response, context)
                write(response, answering: head, context)
                proceed(context)
            }
        }
    }

    /// Whoever changes something leaves a line, also when it did not work; whoever may not, or only reads, leaves none.
    private func audit(_ request: Request, _ response: Response, _ context: ChannelHandlerContext) {
        guard request.method == .post || request.method == .delete, !(400..<500).contains(response.status) else { return }
        log.change("\(request.method) \(request.path)", status: response.status, peer: context.channel)
    }

    private func write(_ response: Response, answering head: RequestHead, _ context: ChannelHandlerContext) {
        // Who asks without a password is about to learn that there is one; who guesses is news.
        if response.status == 401, head.authorization != nil { log.write(.info, "wrong password", peer: context.channel) }
        let isLast = !head.keepsAlive || drain != nil || (inputEnded && waiting.isEmpty)
        write(
            response, method: head.method, isHTTP10: head.isHTTP10, end: isLast ? .close : .keepAlive, context)
    }

    private func write(
        _ response: Response, method: Request.Method = .get, isHTTP10: Bool, end: OutgoingResponse.End, _ context: ChannelHandlerContext
    ) {
        requests.count(path: path, code: response.status)
        state = .writing(
            OutgoingResponse(
                response, answering: method, isHTTP10: isHTTP10, end: end, date: date, allocator: context.channel.allocator))
    }

    /// - Returns: whether there may be more to do at once.
    private func writeMore(_ context: ChannelHandlerContext) -> Bool {
        guard case .writing(var outgoing) = state else { return false }
        if outgoing.isTaken { return finish(outgoing.end, context) }
        guard outgoing.hasMore, context.channel.isWritable else {
            awaitReader(outgoing, context)
            return false
        }
        // Out of the state, so that the pieces are not copied when one is given up.
        state = .answering
        repeat {
            let piece = wrapOutboundOut(outgoing.takePiece())
            if outgoing.hasMore {
                context.write(piece, promise: nil)
            } else {
                let promise = context.eventLoop.makePromise(of: Void.self)
                promise.futureResult.assumeIsolated().whenSuccess { [self] in taken(context) }
                context.write(piece, promise: promise)
            }
        } while outgoing.hasMore && context.channel.isWritable
        state = .writing(outgoing)
        context.flush()
        return true
    }

    /// The kernel has all of the response.
    private func taken(_ context: ChannelHandlerContext) {
        guard case .writing(var outgoing) = state else { return }
        outgoing.isTaken = true
        state = .writing(outgoing)
        proceed(context)
    }

    /// - Returns: whether there may be more to do at once.
    private func finish(_ end: OutgoingResponse.End, _ context: ChannelHandlerContext) -> Bool {
        switch end {
        case .keepAlive:
            state = .reading
            path = nil
            isHeadTimed = false
            hasAnswered = true
            timer?.set(settings.idleTimeout)
            if isReadHeld {
                isReadHeld = false
                context.read()
            }
            if !waiting.isEmpty { return true }
            closeIfDone(context)
        case .close where waiting.isEmpty, .close where inputEnded, .linger where inputEnded:
            close(context)
        case .close, .linger:
            state = .lingering(discardable: Self.lingerBytes)
            waiting = PendingBytes()
            timer?.set(Self.lingerTime)
            context.close(mode: .output, promise: nil)
            context.read()
        }
        return false
    }

    // MARK: - Time

    private func began() {
        timer?.set(isTLS ? settings.handshakeTimeout + settings.headerTimeout : settings.headerTimeout)
    }

    /// The whole of a request has to come in this time; the ordinary one comes at once and starts no clock.
    private func timeHead() {
        guard isWithinRequest, !isHeadTimed else { return }
        isHeadTimed = true
        timer?.set(settings.headerTimeout)
    }

    /// A response that the kernel did not take at once: from now on its reader has to take something now and then.
    private func awaitReader(_ outgoing: OutgoingResponse, _ context: ChannelHandlerContext) {
        var outgoing = outgoing
        guard outgoing.beginSampling(context.channel) else { return }
        state = .writing(outgoing)
        timer?.set(sampleTime)
    }

    private var sampleTime: TimeAmount { .nanoseconds(max(settings.writeTimeout.nanoseconds / Int64(OutgoingResponse.samples), 1_000_000)) }

    private func expired(_ context: ChannelHandlerContext) {
        switch state {
        case .reading where isWithinRequest:
            write(.text(408, "the request took too long"), isHTTP10: false, end: .linger, context)
            proceed(context)
        case .writing(var outgoing):
            let isStalled = outgoing.sample(context.channel)
            state = .writing(outgoing)
            guard !isStalled else { return cut(context) }
            timer?.set(sampleTime)
        case .reading, .answering, .lingering, .closed:
            close(context)
        }
    }

    private func cut(_ context: ChannelHandlerContext) {
        log.write(.info, "connection cut: its reader takes no bytes", peer: context.channel)
        context.abort()
        close(context)
    }

    // MARK: - The end

    /// Whether a request has begun and is not complete.
    private var isWithinRequest: Bool { head != nil || !waiting.isEmpty }

    /// For a peer that has ended its side, and for a listener that drains.
    private func closeIfDone(_ context: ChannelHandlerContext) {
        guard case .reading = state else {
            if inputEnded, case .lingering = state { close(context) }
            return
        }
        guard !inputEnded else { return close(context) }
        // Not at once: a request that was sent just now may wait in the kernel, unread.
        if let drain, !isWithinRequest { timer?.set(drain.pause(isNew: !hasAnswered)) }
    }

    private func close(_ context: ChannelHandlerContext) {
        if case .closed = state { return }
        state = .closed
        waiting = PendingBytes()
        context.close(mode: .all, promise: nil)
    }

    private func end() {
        state = .closed
        timer?.stop()
        timer = nil
    }
}
