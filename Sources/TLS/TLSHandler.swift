public import NIOCore
import NIOTLS

/// TLS as a channel handler: ciphertext on the network's side, plain bytes on the application's.
///
/// Fires `TLSUserEvent.handshakeCompleted(negotiatedProtocol:)`. The peer's close_notify is `ChannelEvent.inputClosed`, as a half-closed
/// TCP connection is without TLS, and `ChannelOptions.allowRemoteHalfClosure` has the same meaning: when it is off, the channel is
/// closed. `TLSUserEvent.shutdownCompleted` follows when both sides have ended with close_notify.
/// A failure is a `TLSError` by `errorCaught`, then a close. A server that has sent a reason, as an alert or in plain text, first gives its
/// peer a moment to read it. An end without close_notify is `TLSError.truncated`, and no `inputClosed`.
///
/// Writes are kept as references and encrypted only while the channel is writable, so a slow reader holds about 100 KiB of ciphertext. The
/// channel may be writable while plain bytes wait here for their turn: the promise of a write tells when its buffer is let go. Before the
/// handshake is complete `isWritable` means nothing, so write no more than a first request by then. `close` sends the queued bytes, then close_notify. It gives
/// up when the peer takes nothing for the close timeout. `abort()` closes at once.
public final class TLSHandler: ChannelDuplexHandler {
    /// Ciphertext from the network.
    public typealias InboundIn = ByteBuffer
    /// Plain bytes to the application.
    public typealias InboundOut = ByteBuffer
    /// Plain bytes from the application.
    public typealias OutboundIn = ByteBuffer
    /// Ciphertext to the network.
    public typealias OutboundOut = ByteBuffer

    /// The limit of TLS's own answers (alerts, key updates) that wait for a peer that does not read. More of them are an attack.
    private static let maxHeldAnswers = 16 * 1024

    let tlsContext: TLSContext
    let role: TLSConnection.Role
    let handshakeTimeout: TimeAmount?
    let closeTimeout: TimeAmount
    let plainHTTPResponse: ByteBuffer?
    /// Called at most once, with the result of the handshake.
    let onHandshake: ((_ failure: TLSHandshakeFailure?, _ channel: any Channel) -> Void)?

    var machine = TLSStateMachine()
    /// A server has one from the first complete ClientHello on.
    var connection: TLSConnection?
    /// The memory of the handshake; `nil` before it starts and after it has ended.
    var handshake: HandshakeUnderWay?
    let output = EncryptingOutput()
    /// For callbacks that come later; `nil` once the handler has left the pipeline.
    var context: ChannelHandlerContext?
    /// The handshake's deadline, later that of the close.
    var timer: Scheduled<Void>?
    var closePromises: [EventLoopPromise<Void>] = []
    var closeOutputPromise: EventLoopPromise<Void>?
    /// The application has requested a read and has received nothing yet. A read without plaintext is repeated.
    private var owesRead = false
    private var isReading = false
    private var isPumpScheduled = false

    /// The names in the client's verified certificate; empty before the handshake has ended, without a certificate, and where it is not
    /// verified. Called on the event loop.
    public var clientNames: [AlternativeName] { connection?.clientNames ?? [] }

    /// Accepts a handshake.
    /// - Parameters:
    ///   - handshakeTimeout: after it, an unfinished handshake fails with `TLSError.handshakeTimeout`; `nil` waits for ever.
    ///   - closeTimeout: the longest time in which a peer may take no queued byte while the connection is being closed.
    ///   - plainHTTPResponse: the complete plain HTTP response for a client without TLS; without it the connection ends silently.
    ///   - onHandshake: called on the event loop once the handshake has ended, with `nil` if it succeeded. The event in the pipeline
    ///     follows.
    public init(
        server context: TLSContext, handshakeTimeout: TimeAmount? = nil, closeTimeout: TimeAmount = .seconds(30),
        plainHTTPResponse: ByteBuffer? = nil,
        onHandshake: ((_ failure: TLSHandshakeFailure?, _ channel: any Channel) -> Void)? = nil
    ) {
        tlsContext = context
        role = .server
        self.handshakeTimeout = handshakeTimeout
        self.closeTimeout = closeTimeout
        self.plainHTTPResponse = plainHTTPResponse
        self.onHandshake = onHandshake
    }

    /// Starts a handshake when the channel is active.
    /// - Parameters:
    ///   - hostname: what to send as SNI (a DNS name only) and to verify the certificate for (DNS name or IP address).
    ///   - handshakeTimeout: after it, an unfinished handshake fails with `TLSError.handshakeTimeout`; `nil` waits for ever.
    ///   - closeTimeout: the longest time in which a peer may take no queued byte while the connection is being closed.
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

    /// Drops what is not sent.
    public func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        release(failingWritesWith: ChannelError.ioOnClosedChannel)
    }

    /// Starts the handshake.
    public func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    /// Reports an end without close_notify before the end itself.
    public func channelInactive(context: ChannelHandlerContext) {
        deliverLastBytes(context)
        let error = machine.transportClosed()
        if error == .closedDuringHandshake { onHandshake?(.closed, context.channel) }
        release(failingWritesWith: error ?? ChannelError.ioOnClosedChannel)
        if let error { context.fireErrorCaught(error) }
        context.fireChannelInactive()
    }

    private func start(_ context: ChannelHandlerContext) {
        guard machine.start() else { return }
        if let handshakeTimeout {
            setTimer(handshakeTimeout, context) { handler, context in
                handler.fail(.handshakeTimeout, context, .timeout)
            }
        }
        startHandshake(context)
    }

    /// Frees OpenSSL's memory and completes all promises.
    private func release(failingWritesWith error: any Error) {
        timer?.cancel()
        timer = nil
        connection = nil
        endHandshake()
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
        let bytes = unwrapInboundIn(data)
        guard machine.wantsCiphertext else {
            if machine.discard(bytes.readableBytes) { context.close(promise: nil) }
            return
        }
        if machine.isHandshaking { handshake?.reader.receive(bytes) } else { connection?.receive(bytes) }
        advance(context)
    }

    /// Reads again if the application's read has received nothing yet.
    public func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        let reads = (owesRead || output.waitsForPeer) && machine.deliversInput
        if machine.isHandshaking || reads || machine.isLingering { context.read() }
    }

    /// Remembers that the application has requested a read.
    public func read(context: ChannelHandlerContext) {
        owesRead = true
        context.read()
    }

    /// Translates the end of the TCP input into that of TLS.
    public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        deliverLastBytes(context)
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

    func advance(_ context: ChannelHandlerContext) {
        // A handler above may cause an inner call. The outer call reads the bytes that it has added.
        guard !isReading else { return }
        isReading = true
        defer { isReading = false }
        if machine.isHandshaking, !shakeHands(context) { return }
        deliver(context)
        sendAnswers(context)
        if output.waitsForPeer { pump(context) }
    }

    /// If a write fails within `advance`, SwiftNIO reads all that the kernel has, such as the peer's alert, and then reports the end. The
    /// outer call would come too late for these bytes.
    private func deliverLastBytes(_ context: ChannelHandlerContext) {
        if connection?.hasReceived == true { deliver(context) }
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

    /// Allows sending everything that was written so far.
    public func flush(context: ChannelHandlerContext) {
        output.flush()
        pump(context)
    }

    /// Continues to encrypt.
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
            // The application may not read while it writes.
            case .unfinished: if output.waitsForPeer { context.read() }
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

    /// Sends the messages of TLS itself: handshake messages, tickets, alerts, key updates.
    func sendAnswers(_ context: ChannelHandlerContext) {
        guard let connection, connection.pendingCiphertext > 0 else { return }
        guard context.channel.isWritable || machine.isHandshaking else {
            if connection.pendingCiphertext > Self.maxHeldAnswers {
                fail(.protocolViolation("it causes answers and does not read them"), context)
            }
            return
        }
        context.writeAndFlush(wrapOutboundOut(connection.takeCiphertext()), promise: nil)
    }
}

@available(*, unavailable)
extension TLSHandler: Sendable {}
