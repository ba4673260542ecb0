import COpenSSL

/// What OpenSSL's ticket callbacks need of a context; kept by it, as they hold it unretained.
final class TicketCallbacks: Sendable {
    /// The index that OpenSSL keeps for applications (`SSL_CTX_set_app_data`).
    private static let index: Int32 = 0

    private let tickets: SessionTickets
    private let policy: ClientPolicy

    init(tickets: SessionTickets, policy: ClientPolicy) {
        self.tickets = tickets
        self.policy = policy
    }

    /// Makes a server's context use the keys, and resume what its policy would admit still.
    func install(in context: OpaquePointer) {
        SSL_CTX_set_ex_data(context, Self.index, Unmanaged.passUnretained(self).toOpaque())
        SSL_CTX_set_timeout(context, Int(SessionTickets.lifetime))
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context) { ssl, name, iv, encryption, mac, isNew in
            guard let ssl, let name, let iv, let encryption, let mac, let callbacks = TicketCallbacks.of(ssl) else { return -1 }
            return callbacks.tickets.prepare(ssl, name: name, iv: iv, encryption, mac, isNew: isNew == 1)
        }
        SSL_CTX_set_session_ticket_cb(
            context,
            { ssl, _ in
                guard let ssl, let callbacks = TicketCallbacks.of(ssl) else { return 0 }
                return callbacks.stamp(ssl) ? 1 : 0
            },
            { ssl, session, _, _, status, _ in
                guard let ssl, let callbacks = TicketCallbacks.of(ssl) else { return SSL_TICKET_RETURN_ABORT }
                switch status {
                case SSL_TICKET_SUCCESS, SSL_TICKET_SUCCESS_RENEW:
                    guard let session, callbacks.mayResume(session) else { return SSL_TICKET_RETURN_IGNORE_RENEW }
                    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
                default: return SSL_TICKET_RETURN_IGNORE_RENEW
                }
            }, nil)
    }
    private static func of(_ ssl: OpaquePointer) -> TicketCallbacks? {
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), index).map { Unmanaged.fromOpaque($0).takeUnretainedValue() }
    }

    /// Writes into a new ticket until when it may be used, and those that follow from it.
    private func stamp(_ ssl: OpaquePointer) -> Bool {
        // A resumed session keeps the end of the whole handshake that it goes back to: OpenSSL copies it.
        guard SSL_session_reused(ssl) == 0 else { return true }
        let end = min(tickets.now() + SessionTickets.longestChain, policy.admissionEnds(ssl))
        return withUnsafeBytes(of: end.bigEndian) { SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), $0.baseAddress, $0.count) == 1 }
    }

    private func mayResume(_ session: OpaquePointer) -> Bool {
        var data: UnsafeMutableRawPointer?
        var count = 0
        guard SSL_SESSION_get0_ticket_appdata(session, &data, &count) == 1, let data, count == 8 else { return false }
        return tickets.now() < Int64(bigEndian: data.loadUnaligned(as: Int64.self))
    }
}
