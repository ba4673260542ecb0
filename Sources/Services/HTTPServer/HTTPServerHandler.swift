import Glibc
import HTTP
import Logging
import NIOCore
import NIOTLS
import Proxy
import Synchronization
import TLS

/// One HTTP/1 connection. It carries out the actions of its `ServerConnection`.
final class HTTPServerHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    /// The limits of the channel's own buffer: enough pieces for one `writev`, and little memory for thousands of slow readers.
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 128 << 10, high: OutgoingResponse.channelWindow)

    private let parts: HTTPServerParts
    private let exchange: any HTTPExchange
    /// The time that the TLS handshake may take; `nil` without TLS.
    private let handshakeTimeout: TimeAmount?
    private var connection: ServerConnection
    private var timer: DeadlineTimer?
    private var turns: EventLoopTurns?
    /// Whether a complete request waits for a turn.
    private var waitsForTurn = false
    /// Guards against re-entry: a flush calls `channelWritabilityChanged` before it returns.
    private var isActing = false
    /// Counts bytes that are read and not consumed.
    private var reading: BudgetShare
    /// The response of this connection that `SlowReaders` counts.
    private var slowAnswer: SlowReaders.Answer?

    init(_ connection: ServerConnection, exchange: any HTTPExchange, parts: HTTPServerParts, handshakeTimeout: TimeAmount?) {
        self.connection = connection
        self.exchange = exchange
        self.parts = parts
        self.reading = BudgetShare(of: parts.shared.reading)
        self.handshakeTimeout = handshakeTimeout
    }

    /// Options of a channel that speaks HTTP. Called on its event loop.
    /// - Parameters:
    ///   - allocator: of the buffers that are read into.
    ///   - reads: the number of reads before other connections have their turn.
    static func setOptions(of channel: any Channel, allocator: any RecvByteBufferAllocator, reads: UInt) throws {
        // A client may end its side after the request and still wait for the answer.
        try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
        try channel.syncOptions?.setOption(.writeBufferWaterMark, value: waterMark)
        try channel.syncOptions?.setOption(.recvAllocator, value: allocator)
        try channel.syncOptions?.setOption(.maxMessagesPerRead, value: reads)
    }

    // MARK: - Events

    func handlerAdded(context: ChannelHandlerContext) {
        turns = parts.shared.turns[context.eventLoop]
        timer = DeadlineTimer(eventLoop: context.eventLoop) { [unowned self] in
            connection.timerExpired()
            act(context)
        }
        if context.channel.isActive { began(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { end(context) }

    func channelActive(context: ChannelHandlerContext) {
        began(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(context)
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        connection.timeouts = parts.timeouts()
        connection.received(unwrapInboundIn(data), at: context.eventLoop.now)
        act(context)
    }

    func read(context: ChannelHandlerContext) {
        if connection.readRequested() { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        act(context)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: connection.inputEnded()
        case let event as ConnectionDrainEvent: connection.drain(event.wish)
        case is ConnectionCutEvent:
            // Its request is complete.
            if waitsForTurn { takeTurn(context) }
            if let answer = exchange.cut() {
                // The next turn would come too late.
                connection.resumed(at: context.eventLoop.now)
                respond(answer, context)
            }
        case TLSUserEvent.handshakeCompleted: connection.handshakeCompleted()
        default: return context.fireUserInboundEventTriggered(event)
        }
        act(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case TLSError.truncated? = error as? TLSError {
            // The requests before are complete, and the client may still read the answers that TLS has already.
            connection.inputEnded()
        } else {
            parts.log.failed(error, peer: context.channel)
            connection.abort()
        }
        act(context)
    }

    private func began(_ context: ChannelHandlerContext) {
        connection.opened(handshakeTimeout: handshakeTimeout)
        act(context)
    }

    private func end(_ context: ChannelHandlerContext) {
        guard timer != nil else { return }
        connection.ended()
        timer?.stop()
        timer = nil
        count(context)
        // A complete request keeps its turn.
        if !waitsForTurn { exchange.ended() }
    }

    // MARK: - Actions

    private func act(_ context: ChannelHandlerContext) {
        guard !isActing else { return }
        isActing = true
        defer { isActing = false }
        repeat {
            while let action = connection.next(isWritable: context.channel.isWritable) { perform(action, context) }
        } while !count(context)
        parts.shared.slowReaders.enforce()
    }

    private func perform(_ action: ServerConnection.Action, _ context: ChannelHandlerContext) {
        switch action {
        case .head(let head): begin(head, context)
        case .body(let piece): respond(exchange.take(piece), context)
        case .end: answerInTurn(context)
        case .refuse(let error): respond(exchange.refuse(error), context)
        case .write(let bytes, let report): write(bytes, report, context)
        case .flush: context.flush()
        case .sample: connection.sampled(WriteProgress(of: context.channel), at: context.eventLoop.now)
        case .timer(let time?): timer?.set(time)
        case .timer(nil): timer?.clear()
        case .read: context.read()
        case .takeTurn:
            if turns?.take({ writeLarge(in: $0, context) }) == nil { connection.endTurn() }
        case .yield:
            turns?.wait(of: QueuePeer(context.remoteAddress), forLargeSteps: connection.hasLargeResponse) { [self] in
                connection.resumed(at: context.eventLoop.now)
                act(context)
            }
        case .closeOutput: context.close(mode: .output, promise: nil)
        case .close: context.close(mode: .all, promise: nil)
        case .cut(let reason):
            parts.log.write(.info, "\(reason.words)", peer: context.channel)
            parts.shared.cutReaders.count(reason)
            // `close` would wait until the reader has taken the bytes that TLS has queued.
            context.abort()
        }
    }

    /// Writes a large response until the turn is over or the channel is full.
    private func writeLarge(in turn: EventLoopTurns.Turn, _ context: ChannelHandlerContext) {
        connection.isInLargeTurn = true
        defer { connection.isInLargeTurn = false }
        while let action = connection.next(isWritable: context.channel.isWritable) {
            switch action {
            case .takeTurn: connection.endTurn()
            case .flush:
                perform(action, context)
                if turn.isOverForLargeSteps { connection.isInLargeTurn = false }
            default: perform(action, context)
            }
        }
    }

    private func begin(_ head: RequestHead, _ context: ChannelHandlerContext) {
        switch exchange.begin(head, on: context.eventLoop) {
        case .body: break
        case .answer(let response): respond(response, context)
        case .wait(let decision):
            connection.holdBody()
            decision.assumeIsolated().whenComplete { [self] result in
                guard timer != nil else { return }
                connection.releaseBody(at: context.eventLoop.now)
                respond((try? result.get()) ?? nil, context)
                act(context)
            }
        }
    }

    /// Answers at once if there is time. Otherwise the ready sockets of one client, each with a request, could keep those of others waiting.
    private func answerInTurn(_ context: ChannelHandlerContext) {
        guard let turns, !turns.begin({ answer(context) }) else { return }
        waitsForTurn = true
        turns.wait(of: QueuePeer(context.remoteAddress)) { [self] in
            guard waitsForTurn else { return }
            takeTurn(context)
            if timer == nil { exchange.ended() } else { act(context) }
        }
    }

    private func takeTurn(_ context: ChannelHandlerContext) {
        waitsForTurn = false
        answer(context)
    }

    private func answer(_ context: ChannelHandlerContext) {
        switch exchange.end(on: context.eventLoop) {
        case .now(let response): respond(response, context)
        case .later(let future):
            future.assumeIsolated().whenComplete { [self] result in
                guard timer != nil else { return }
                respond((try? result.get()) ?? .text(500, "internal server error"), context)
                act(context)
            }
        }
    }

    private func respond(_ response: Response?, _ context: ChannelHandlerContext) {
        guard let response else { return }
        exchange.willSend(response)
        connection.respond(with: response, date: parts.shared.date.now, allocator: context.channel.allocator)
    }

    private func write(_ bytes: ByteBuffer, _ report: Int?, _ context: ChannelHandlerContext) {
        guard let report else { return context.write(wrapOutboundOut(bytes), promise: nil) }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenSuccess { [self] in
            connection.taken(report)
            act(context)
        }
        context.write(wrapOutboundOut(bytes), promise: promise)
    }

    // MARK: - Memory

    /// Counts the memory of this connection.
    /// - Returns: whether the budget has room for it. If not, the connection has new actions.
    @discardableResult
    private func count(_ context: ChannelHandlerContext) -> Bool {
        countSlowAnswer(context)
        guard !reading.hold(connection.heldForReading) else { return true }
        connection.refuseReading()
        return false
    }

    private func countSlowAnswer(_ context: ChannelHandlerContext) {
        if let response = connection.slowResponse {
            if let slowAnswer {
                parts.shared.slowReaders.proceed(slowAnswer, to: response)
            } else {
                let this = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
                slowAnswer = parts.shared.slowReaders.add(response, isEncrypted: handshakeTimeout != nil, on: context.eventLoop) {
                    this.value.handler.connection.cutSlowReader()
                    this.value.handler.act(this.value.context)
                }
            }
        } else if let ended = slowAnswer {
            slowAnswer = nil
            parts.shared.slowReaders.remove(ended)
        }
    }
}

extension ServerConnection.CutReason {
    /// For the log.
    fileprivate var words: String {
        switch self {
        case .writeTimeout: "connection cut: its reader takes no bytes"
        case .responseTimeout: "connection cut: its reader has taken response_timeout for one answer"
        case .heldSize: "connection cut: its reader is the slowest, and answers on their way hold more than max_held_size"
        }
    }
}

extension ConnectionDrainEvent {
    fileprivate var wish: ServerConnection.Drain {
        ServerConnection.Drain(newPause: pause(isNew: true), keptPause: pause(isNew: false), isFinal: self == .accessChanged)
    }
}

extension WriteProgress {
    /// Called on the channel's event loop.
    fileprivate init(of channel: any Channel) {
        var acknowledged: UInt64 = 0
        (channel as? any SocketOptionProvider)?
            .unsafeGetSocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_INFO))
            .assumeIsolated()
            // The future has its result at once, because this is the channel's event loop.
            .whenSuccess { (info: TCPInfo) in acknowledged = info.bytesAcknowledged }
        self.init(buffered: (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0, acknowledged: acknowledged)
    }
}

/// The beginning of `struct tcp_info` (linux/tcp.h). Glibc's own is older and ends before `tcpi_bytes_acked`.
private struct TCPInfo: Sendable {
    /// 8 one-byte fields, 24 of four bytes, and the two pacing rates.
    private var skippedFirst: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    private var skippedNext: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)
    var bytesAcknowledged: UInt64 = 0
}

/// Makes the answers to one connection's requests, one exchange after another. Called on the connection's event loop.
protocol HTTPExchange: AnyObject {
    /// The head of a request has been read.
    func begin(_ head: RequestHead, on eventLoop: any EventLoop) -> HTTPBeginning
    /// The next piece of the body.
    /// - Returns: the answer, if it does not depend on the rest. The rest is not read then, and the connection ends.
    func take(_ piece: ByteBuffer) -> Response?
    /// The request is complete.
    func end(on eventLoop: any EventLoop) -> Answer
    /// The answer to a request that cannot be read any further.
    func refuse(_ error: RequestError) -> Response
    /// The connection is about to be aborted by this side.
    /// - Returns: the answer to the current request, if it has none yet and its client is told.
    func cut() -> Response?
    /// This answer is about to be sent.
    func willSend(_ response: Response)
    /// The connection has ended, perhaps during an exchange.
    func ended()
}

extension HTTPExchange {
    func cut() -> Response? { nil }
    func ended() {}
}

/// What to do after the head of a request.
enum HTTPBeginning {
    /// Read the body.
    case body
    /// Send this answer, which does not depend on the body. The body is not read, and the connection ends.
    case answer(Response)
    /// Wait for this future before reading the body. Its value is the answer, or `nil` to read the body. It belongs to the connection's
    /// event loop and never fails.
    case wait(EventLoopFuture<Response?>)
}

/// What the connections of one listener share.
struct HTTPServerParts: Sendable {
    /// What the connections of all listeners share.
    struct Shared: Sendable {
        var date: DateText
        var turns: EventLoopTurns.OfGroup
        /// Counts bytes that were read and are not consumed.
        var reading: ByteBudget
        var slowReaders: SlowReaders
        var cutReaders: CutReaderMetrics
    }

    var shared: Shared
    var log: ConnectionLog
    /// Those in force. A connection asks whenever it has received bytes.
    var timeouts: @Sendable () -> ServerConnection.Timeouts

    init(_ shared: Shared, log: ConnectionLog, timeouts: @escaping @Sendable () -> ServerConnection.Timeouts) {
        self.shared = shared
        self.log = log
        self.timeouts = timeouts
    }
}

/// The value of `Date` headers, written once a second and shared by all connections.
final class DateText: Sendable {
    private let clock: @Sendable () -> Timestamp
    /// Guards the second and its text.
    private let cached = Mutex((second: Int64.min, text: ""))

    init(clock: @escaping @Sendable () -> Timestamp) { self.clock = clock }

    var now: String {
        let time = clock()
        return cached.withLock { cached in
            if cached.second != time.seconds { cached = (time.seconds, time.httpDate) }
            return cached.text
        }
    }
}
