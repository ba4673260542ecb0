public import NIOCore
import NIOTLS

/// TLS as a channel handler: ciphertext on the network's side, plain bytes on the application's.
///
/// Fires `TLSUserEvent.handshakeCompleted(negotiatedProtocol:)`. The peer's close_notify is `ChannelEvent.inputClosed`, as a half-closed
/// TCP connection is without TLS, and `ChannelOptions.allowRemoteHalfClosure` decides as it does there: when it is off, the channel is
/// closed. `TLSUserEvent.shutdownCompleted` follows when both sides have ended with close_notify.
/// A failure is a `TLSError` by `errorCaught`, then a close; a server that has said why, by an alert or in plain text, first gives its
/// peer a moment to read it. An end without close_notify is `TLSError.truncated`, and no `inputClosed`.
///
/// Writes are kept as references and encrypted only while the channel is writable, so a slow reader costs some 100 KiB. Whoever heeds
/// `Channel.isWritable` and `channelWritabilityChanged` is never ahead by more than that; before the handshake is complete
/// `isWritable` says nothing, so write no more than a first request by then.
/// `close` sends what is queued, then close_notify; a second `close` does not wait, nor does the first when the peer takes nothing for
/// the close timeout.
public final class TLSHandler: ChannelDuplexHandler {
    /// Ciphertext from the network.
    public typealias InboundIn = ByteBuffer
    /// Plain bytes to the application.
    public typealias InboundOut = ByteBuffer
    /// Plain bytes from the application.
    public typealias OutboundIn = ByteBuffer
    /// Ciphertext to the network.
    public typealias OutboundOut = ByteBuffer

    /// What client and server agreed on; `nil` before the handshake is complete.
    public private(set) var negotiation: TLSNegotiation?

    /// Answers of TLS itself (alerts, key updates) that may wait for a peer that does not read: more is an attack.
    private static let maxHeldAnswers = 16 * 1024

    private let tlsContext: TLSContext
    let role: TLSConnection.Role
    private let handshakeTimeout: TimeAmount?
    let closeTimeout: TimeAmount
    let plainHTTPResponse: ByteBuffer?
    /// Hears how the handshake ended; called once at most.
    let onHandshake: ((_ failure: TLSHandshakeFailure?, _ channel: any Channel) -> Void)?

    var machine = TLSStateMachine()
    var connection: TLSConnection?
    let output = EncryptingOutput()
    /// For what comes back later; `nil` once the handler has left the pipeline.
    var context: ChannelHandlerContext?
    /// The handshake's deadline, later that of the close.
    var timer: Scheduled<Void>?
    var closePromises: [EventLoopPromise<Void>] = []
    var closeOutputPromise: EventLoopPromise<Void>?
    /// A client's first bytes until they tell TLS from plain HTTP; `nil` when they have.
    private var firstBytes: ByteBuffer?
    /// Someone asked to read and has got nothing yet: a read that yields no plaintext is repeated.
    private var owesRead = false
    private var isReading = false
    private var isPumpScheduled = false

    /// Accepts a handshake.
    /// - Parameters:
    ///   - handshakeTimeout: after it, an unfinished handshake fails with `TLSError.handshakeTimeout`; `nil` waits for ever.
    ///   - closeTimeout: how long a peer may take nothing of what is queued when the connection is being closed.
    ///   - plainHTTPResponse: what a client reads that does not speak TLS, a whole response of plain HTTP; without it the connection just ends.
    ///   - onHandshake: called on the event loop once the handshake has ended, with `nil` when it succeeded; before the pipeline hears of it.
    public init(
        server context: TLSContext, handshakeTimeout: TimeAmount? = nil, closeTimeout: TimeAmount = .seconds(30),
        plainHTTPResponse: ByteBuffer? = nil, onHandshake: ((_ failure: TLSHandshakeFailure?, _ channel: any Channel) -> Void)? = nil
    ) {
        tlsContext = context
        role = .server
        self.handshakeTimeout = handshakeTimeout
        self.closeTimeout = closeTimeout
        self.plainHTTPResponse = plainHTTPResponse
        self.onHandshake = onHandshake
        firstBytes = ByteBuffer()
    }

    /// Starts a handshake when the channel is active.
    /// - Parameters:
    ///   - hostname: what to send as SNI (a DNS name only) and to verify the certificate for (DNS name or IP address).
    ///   - handshakeTimeout: after it, an unfinished handshake fails with `TLSError.handshakeTimeout`; `nil` waits for ever.
    ///   - closeTimeout: how long a peer may take nothing of what is queued when the connection is being closed.
    public init(
        client context: TLSContext, hostname: String, handshakeTimeout: TimeAmount? = nil, closeTimeout: TimeAmount = .seconds(30)
    ) {
        tlsContext = context
        role = .client(hostname: hostname)
        self.handshakeTimeout = handshakeTimeout
        self.closeTimeout = closeTimeout
        plainHTTPResponse = nil
        onHandshake = nil
    }

    // MARK: Life of the channel

    /// Starts at once in a channel that is active already.
    public func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { start(context) }
    }

    /// Gives up what is not sent.
    public func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        release(failingWritesWith: ChannelError.ioOnClosedChannel)
    }

    /// Starts the handshake.
    public func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    /// Tells an end without close_notify before the end itself.
    public func channelInactive(context: ChannelHandlerContext) {
        let error = machine.transportClosed()
        if error == .closedDuringHandshake { onHandshake?(.closed, context.channel) }
        release(failingWritesWith: error ?? ChannelError.ioOnClosedChannel)
        if let error { context.fireErrorCaught(error) }
        context.fireChannelInactive()
    }

    private func start(_ context: ChannelHandlerContext) {
        guard machine.start() else { return }
        do throws(TLSError) {
            connection = try TLSConnection(tlsContext, as: role)
        } catch {
            fail(error, context)
            return
        }
        if let handshakeTimeout {
            setTimer(handshakeTimeout, context) { handler, context in
                handler.fail(.handshakeTimeout, context, .timeout)
            }
        }
        if case .client = role { advance(context) }
    }

    /// Frees what OpenSSL holds and completes all promises.
    private func release(failingWritesWith error: any Error) {
        timer?.cancel()
        timer = nil
        connection = nil
        firstBytes = nil
        output.fail(with: error)
        let promises = closePromises
        closePromises = []
        for promise in promises { promise.succeed() }
        closeOutputPromise?.fail(error)
        closeOutputPromise = nil
    }

    // MARK: From the network

    /// Decrypts.
    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard machine.wantsCiphertext, let connection else {
            if machine.discard(unwrapInboundIn(data).readableBytes) { context.close(promise: nil) }
            return
        }
        guard let bytes = afterFirstBytes(unwrapInboundIn(data), context) else { return }
        connection.receive(bytes)
        advance(context)
    }

    /// Reads on when what was asked for has not come yet.
    public func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        if machine.isHandshaking || (owesRead && machine.deliversInput) || machine.isLingering { context.read() }
    }

    /// Remembers that plaintext is asked for.
    public func read(context: ChannelHandlerContext) {
        owesRead = true
        context.read()
    }

    /// Turns TCP's end into TLS's.
    public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        switch machine.transportInputClosed() {
        case .swallow: break
        case .forward: context.fireUserInboundEventTriggered(event)
        case .fail(let error): fail(error, context, .closed)
        case .closeNow: context.close(promise: nil)
        case .announceTruncationAndClose:
            context.fireErrorCaught(TLSError.truncated)
            closeUnlessClosing(context)
        }
    }

    /// Looks whether a client speaks TLS at all.
    /// - Returns: what is for OpenSSL; `nil` while it cannot be told yet, or when it is nothing for OpenSSL.
    private func afterFirstBytes(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) -> ByteBuffer? {
        guard var seen = firstBytes else { return bytes }
        if seen.readableBytes == 0 { seen = bytes } else { seen.writeImmutableBuffer(bytes) }
        switch FirstBytes(seen.readableBytesView) {
        case .undecided:
            firstBytes = seen
            return nil
        case .plainHTTP:
            firstBytes = nil
            refusePlain(.plainHTTPRequest, .plainHTTP, context)
            return nil
        case .notTLS where plainHTTPResponse != nil:
            firstBytes = nil
            // OpenSSL would say nothing at all, which a sender of pushes takes for success.
            refusePlain(.handshakeFailed("the peer does not speak TLS"), .notTLS, context)
            return nil
        case .notTLS, .other:
            firstBytes = nil
            return seen
        }
    }

    private func advance(_ context: ChannelHandlerContext) {
        // An outer call reads what an inner one, from a handler above, has added.
        guard !isReading else { return }
        isReading = true
        defer { isReading = false }
        if machine.isHandshaking, !shakeHands(context) { return }
        deliver(context)
        sendAnswers(context)
    }

    /// - Returns: whether the handshake is complete.
    private func shakeHands(_ context: ChannelHandlerContext) -> Bool {
        guard let connection else { return false }
        switch connection.handshake() {
        case .wantsMore:
            sendAnswers(context)
            return false
        case .failed(let error, let failure):
            fail(error, context, failure)
            return false
        case .completed:
            timer?.cancel()
            timer = nil
            let negotiation = connection.negotiation
            self.negotiation = negotiation
            machine.handshakeCompleted()
            onHandshake?(nil, context.channel)
            // What TLS has to say now (tickets, the client's Finished) goes out with what the application says to this, or after it.
            context.fireUserInboundEventTriggered(TLSUserEvent.handshakeCompleted(negotiatedProtocol: negotiation.applicationProtocol))
            pump(context)
            return true
        }
    }

    private func deliver(_ context: ChannelHandlerContext) {
        while machine.deliversInput, let connection {
            var plaintext = context.channel.allocator.buffer(capacity: connection.likelyPlaintext)
            let result = connection.read(into: &plaintext)
            if plaintext.readableBytes > 0 {
                owesRead = false
                context.fireChannelRead(wrapInboundOut(plaintext))
            }
            switch result {
            case .full: continue
            case .wantsMore:
                if connection.hasReceived { continue }
                return
            case .closed: peerClosed(context)
            case .failed(let error): fail(error, context)
            }
        }
    }

    private func peerClosed(_ context: ChannelHandlerContext) {
        connection?.discardReceived()
        let staysHalfOpen = (try? context.channel.syncOptions?.getOption(.allowRemoteHalfClosure)) ?? false
        switch machine.closeNotifyReceived(staysHalfOpen: staysHalfOpen) {
        case .nothing: break
        case .announceEnd:
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        case .announceEndAndClose:
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            closeUnlessClosing(context)
        case .announceEndOfBothAndClose:
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            context.fireUserInboundEventTriggered(TLSUserEvent.shutdownCompleted)
            closeUnlessClosing(context)
        }
    }

    // MARK: From the application

    /// Keeps a reference; encryption waits for `flush` and a writable channel.
    public func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if let refusal = machine.writeRefusal {
            promise?.fail(refusal)
            return
        }
        output.append(unwrapOutboundIn(data), promise: promise)
    }

    /// Lets go what was written so far.
    public func flush(context: ChannelHandlerContext) {
        output.flush()
        pump(context)
    }

    /// Goes on encrypting.
    public func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard output.writabilityChanged() else { return }
        sendAnswers(context)
        pump(context)
    }

    /// Encrypts and sends while the network takes it.
    func pump(_ context: ChannelHandlerContext) {
        do throws(TLSError) {
            let result = try output.run(connection, context, while: { machine.encrypts }, callsAgain: { schedulePump(context) })
            switch result {
            case .isRunning: return
            case .drained: finishOutput(context)
            case .unfinished: break
            }
        } catch {
            fail(error, context)
        }
        output.announceWritability(context)
    }

    private func schedulePump(_ context: ChannelHandlerContext) {
        guard !isPumpScheduled else { return }
        isPumpScheduled = true
        context.eventLoop.assumeIsolated().execute { [self] in
            isPumpScheduled = false
            if let context = self.context { pump(context) }
        }
    }

    /// Sends what TLS itself has to say: handshake messages, tickets, alerts, key updates.
    private func sendAnswers(_ context: ChannelHandlerContext) {
        guard let connection, connection.pendingCiphertext > 0 else { return }
        guard context.channel.isWritable || machine.isHandshaking else {
            if connection.pendingCiphertext > Self.maxHeldAnswers {
                fail(.protocolViolation("it asks for answers and does not read them"), context)
            }
            return
        }
        context.writeAndFlush(wrapOutboundOut(connection.takeCiphertext()), promise: nil)
    }
}

@available(*, unavailable)
extension TLSHandler: Sendable {}
