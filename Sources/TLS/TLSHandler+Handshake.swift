import NIOCore
import NIOTLS

/// What a handshake in progress holds.
struct HandshakeUnderWay {
    var reader: HandshakeReader
    /// The place among the server's handshakes, from the first byte on.
    var ticket: HandshakeLimit.Ticket?
    /// What is reserved for it, in bytes.
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

    /// Releases what the handshake holds.
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

    /// Reserves what the handshake holds now.
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
    /// What a connection holds during its handshake, in bytes.
    static func handshakeCost(of role: Role, _ context: TLSContext) -> Int {
        let certificate = HandshakeLimit.certificateCost
        return HandshakeLimit.connectionCost + (role.isServer ? context.verifiesPeer ? certificate.client : 0 : certificate.server)
    }
}
