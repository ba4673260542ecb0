public import NIOCore
import NIOTLS

/// The memory of a handshake in progress.
struct HandshakeUnderWay {
    var reader: HandshakeReader
    /// The place among the server's handshakes, from the first byte on.
    var ticket: HandshakeLimit.Ticket?
    /// The bytes that are reserved for it.
    var reserved = 0
}

/// The handshake, from the first bytes until both sides have the keys.
extension TLSHandler {
    /// A server waits for a complete ClientHello before it allocates anything.
    func startHandshake(_ context: ChannelHandlerContext) {
        handshake = HandshakeUnderWay(reader: HandshakeReader(isServer: role.isServer))
        guard !role.isServer, let connection = connectionForHandshake(context) else { return }
        _ = step(connection, context)
    }

    /// Gives OpenSSL the complete messages that were received.
    /// - Returns: whether the handshake is complete.
    func shakeHands(_ context: ChannelHandlerContext) -> Bool {
        while machine.isHandshaking, handshake != nil {
            switch handshake?.reader.next(isTLS12: { connection?.isTLS12 ?? false }) ?? .wait {
            case .wait:
                if !hold(context) { failForLackOfRoom(context) }
                return false
            case .refuse(let refusal):
                refuse(refusal, context)
                return false
            case .pass(let bytes):
                guard let connection = connectionForHandshake(context) else { return false }
                connection.receive(bytes)
                if step(connection, context) { return true }
            }
        }
        return false
    }

    /// Releases the memory of the handshake.
    func endHandshake() {
        guard let ended = handshake else { return }
        handshake = nil
        guard let limit = tlsContext.handshakeLimit else { return }
        limit.release(ended.reserved, ofServer: role.isServer)
        if let ticket = ended.ticket { limit.end(ticket) }
    }

    /// Ends the handshake because another one needs the memory.
    func endForOthers() {
        guard let context, machine.isHandshaking else {
            endHandshake()
            return
        }
        failForLackOfRoom(context)
    }

    private func failForLackOfRoom(_ context: ChannelHandlerContext) {
        fail(.handshakeFailed("too many handshakes are under way"), context, .tooMany)
    }

    /// - Returns: whether the handshake is complete.
    private func step(_ connection: TLSConnection, _ context: ChannelHandlerContext) -> Bool {
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
            if let rest = handshake?.reader.takeRest(), rest.readableBytes > 0 { connection.receive(rest) }
            endHandshake()
            machine.handshakeCompleted()
            onHandshake?(nil, context.channel)
            // The messages that follow the handshake (tickets, the client's Finished) are sent together with the first bytes of the
            // application, or after this event.
            context.fireUserInboundEventTriggered(TLSUserEvent.handshakeCompleted(negotiatedProtocol: connection.applicationProtocol))
            pump(context)
            return true
        }
    }

    /// The connection, made now if there is none; `nil` when the handshake has failed instead.
    private func connectionForHandshake(_ context: ChannelHandlerContext) -> TLSConnection? {
        if let connection { return connection }
        guard hold(context, with: TLSConnection.handshakeCost(of: role, tlsContext)) else {
            failForLackOfRoom(context)
            return nil
        }
        do throws(TLSError) {
            let made = try TLSConnection(tlsContext, as: role)
            connection = made
            return made
        } catch {
            fail(error, context)
            return nil
        }
    }

    /// Reserves the memory of the handshake.
    /// - Parameter connectionCost: for a connection that is about to be made.
    /// - Returns: whether there is room for it.
    private func hold(_ context: ChannelHandlerContext, with connectionCost: Int? = nil) -> Bool {
        guard let limit = tlsContext.handshakeLimit, let handshake else { return true }
        let cost = connectionCost ?? (connection == nil ? 0 : TLSConnection.handshakeCost(of: role, tlsContext))
        let more = handshake.reader.heldBytes + cost - handshake.reserved
        guard more > 0 else {
            limit.release(-more, ofServer: role.isServer)
            self.handshake?.reserved += more
            return true
        }
        guard role.isServer else {
            limit.add(more)
            self.handshake?.reserved += more
            return true
        }
        let ticket = handshake.ticket ?? limit.begin(self, on: context.eventLoop)
        self.handshake?.ticket = ticket
        guard limit.reserve(more, for: ticket) else { return false }
        self.handshake?.reserved += more
        return true
    }

    private func refuse(_ refusal: HandshakeReader.Refusal, _ context: ChannelHandlerContext) {
        switch refusal {
        case .plainHTTP: refusePlain(.plainHTTPRequest, .plainHTTP, context)
        case .notTLS: refusePlain(.handshakeFailed("the peer does not speak TLS"), .notTLS, context)
        case .alert(let alert, let failure, let reason):
            fail(.handshakeFailed(reason), context, failure, sending: ByteBuffer(bytes: alert.record))
        }
    }
}

extension TLSConnection {
    /// The memory of a connection during its handshake, in bytes.
    static func handshakeCost(of role: Role, _ context: TLSContext) -> Int {
        let certificate = HandshakeLimit.certificateCost
        return HandshakeLimit.connectionCost + (role.isServer ? context.verifiesPeer ? certificate.client : 0 : certificate.server)
    }
}

/// The outbound event with which an application closes a connection at once.
private struct AbortEvent {}

extension ChannelOutboundInvoker {
    /// Closes the connection at once: without waiting for the peer to take what TLS has queued, and without close_notify. Without TLS it is
    /// `close`. From any thread.
    public func abort() {
        triggerUserOutboundEvent(AbortEvent(), promise: nil)
        close(mode: .all, promise: nil)
    }
}

/// How a connection ends: because the application closes it, because of a failure, or with a reason that the peer must be able to read.
extension TLSHandler {
    /// How long a peer may take to read why it is refused, and how much it may send meanwhile.
    static let lingerTime = TimeAmount.seconds(2)
    static let lingerBytes = 1 << 20

    // MARK: By the application

    /// Closes at once on `abort()`.
    public func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is AbortEvent else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        machine.abort()
        context.close(promise: promise)
    }

    /// Ends one direction or both, with close_notify where the peer can still receive it.
    public func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch mode {
        case .all:
            closeAll(context, promise)
        case .output:
            switch machine.closeOutput() {
            case .refuse(let error): promise?.fail(error)
            case .forward: context.close(mode: .output, promise: promise)
            case .wait:
                closeOutputPromise = promise
            case .drain:
                closeOutputPromise = promise
                output.flush()
                pump(context)
            }
        case .input:
            machine.closeInput()
            context.close(mode: .input, promise: promise)
        }
    }

    func closeAll(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        switch machine.closeAll() {
        case .refuse(let error):
            promise?.fail(error)
        case .forward:
            context.close(promise: promise)
        case .wait:
            // The transport is already closing or closed.
            guard context.channel.isActive else {
                context.close(promise: promise)
                return
            }
            if let promise { closePromises.append(promise) }
        case .drain:
            if let promise { closePromises.append(promise) }
            output.flush()
            limitClose(context)
            pump(context)
        }
    }

    /// A handler above may have closed the connection when it received the error.
    func closeUnlessClosing(_ context: ChannelHandlerContext) {
        guard !machine.isClosing else { return }
        closeAll(context, nil)
    }

    // MARK: Without the application

    /// Everything queued was sent: ends the output if the application has asked for that.
    func finishOutput(_ context: ChannelHandlerContext) {
        switch machine.drained() {
        case .nothing:
            return
        case .sendCloseNotifyAndCloseOutput:
            connection?.sendCloseNotify()
            send(takeCiphertext(), context) { handler, context in
                let promise = handler.closeOutputPromise
                handler.closeOutputPromise = nil
                context.close(mode: .output, promise: promise)
            }
        case .sendCloseNotifyAndClose(let peerHasEnded):
            connection?.sendCloseNotify()
            if let promise = closeOutputPromise { closePromises.append(promise) }
            closeOutputPromise = nil
            limitClose(context)
            let sent = send(takeCiphertext(), context)
            // After the write and before the close, for the reason given in `fail`.
            if peerHasEnded { context.fireUserInboundEventTriggered(TLSUserEvent.shutdownCompleted) }
            sent.assumeIsolated().whenComplete { [self] _ in
                self.context?.close(promise: nil)
            }
        }
    }

    /// Sends OpenSSL's alert to the peer, reports the error to the application, closes.
    /// - Parameters:
    ///   - failure: given if the handshake failed.
    ///   - alert: replaces OpenSSL's alert.
    func fail(
        _ error: TLSError, _ context: ChannelHandlerContext, _ failure: TLSHandshakeFailure? = nil, sending alert: ByteBuffer? = nil
    ) {
        let isHandshaking = machine.isHandshaking
        let alert = alert ?? takeCiphertext()
        // A client closes at once, because its owner waits for the end.
        let lingers = role.isServer && alert.readableBytes > 0
        guard machine.fail(discarding: lingers ? Self.lingerBytes : nil) else { return }
        endHandshake()
        if isHandshaking { onHandshake?(failure ?? .protocolError, context.channel) }
        output.fail(with: error)
        guard !lingers else {
            linger(after: alert, error, context)
            return
        }
        limitClose(context)
        // Reported after the alert is written, so that a handler above that closes at once does not prevent it, and before the close, so
        // that the error comes before the end.
        let sent = send(alert, context)
        context.fireErrorCaught(error)
        sent.assumeIsolated().whenComplete { [self] _ in
            self.context?.close(promise: nil)
        }
    }

    /// Answers a client without TLS in plain text, if there is an answer.
    func refusePlain(_ error: TLSError, _ failure: TLSHandshakeFailure, _ context: ChannelHandlerContext) {
        guard let plainHTTPResponse else {
            fail(error, context, failure)
            return
        }
        guard machine.fail(discarding: Self.lingerBytes) else { return }
        endHandshake()
        onHandshake?(failure, context.channel)
        output.fail(with: error)
        linger(after: plainHTTPResponse, error, context)
    }

    /// Sends the last bytes, ends the output, and waits a while for the peer to close.
    private func linger(after word: ByteBuffer, _ error: TLSError, _ context: ChannelHandlerContext) {
        // Nothing more will be encrypted, and refused connections must not hold memory.
        connection = nil
        setTimer(Self.lingerTime, context) { _, context in context.close(promise: nil) }
        send(word, context) { _, context in context.close(mode: .output, promise: nil) }
        context.fireErrorCaught(error)
        context.read()
    }

    /// Closes the transport if the peer has taken no queued byte for `closeTimeout`.
    private func limitClose(_ context: ChannelHandlerContext) {
        let queued = output.queue.bytes
        setTimer(closeTimeout, context) { handler, context in
            guard handler.output.queue.bytes != queued else {
                context.close(promise: nil)
                return
            }
            handler.limitClose(context)
        }
    }

    func setTimer(
        _ delay: TimeAmount, _ context: ChannelHandlerContext, _ body: @escaping (TLSHandler, ChannelHandlerContext) -> Void
    ) {
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: delay) { [self] in
            if let context = self.context { body(self, context) }
        }
    }

    private func takeCiphertext() -> ByteBuffer {
        connection?.takeCiphertext() ?? ByteBuffer()
    }

    /// - Returns: succeeds when `bytes`, and all before them, are written; also without a byte.
    private func send(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) -> EventLoopFuture<Void> {
        context.writeAndFlush(wrapOutboundOut(bytes))
    }

    private func send(
        _ bytes: ByteBuffer, _ context: ChannelHandlerContext, then body: @escaping (TLSHandler, ChannelHandlerContext) -> Void
    ) {
        send(bytes, context).assumeIsolated().whenComplete { [self] _ in
            if let context = self.context { body(self, context) }
        }
    }
}
