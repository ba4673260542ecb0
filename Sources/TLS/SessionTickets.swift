import COpenSSL
import Glibc
import Synchronization

/// The keys that protect session tickets (RFC 5077, RFC 8446 section 4.6.1). Contexts share them, so that clients resume across a reload.
/// They exist only in memory and are replaced every hour, so that a leaked key opens few sessions.
///
/// The key does not decide whether a ticket is still accepted: each context binds its rules to its tickets.
public final class SessionTickets: SharedSetting, Sendable {
    /// How long one key makes tickets.
    static let rotation: Int64 = 3600
    /// How long a ticket resumes.
    static let lifetime: Int64 = 7200
    /// How long a client may resume from ticket to ticket before it must make a full handshake.
    static let longestChain: Int64 = 86400
    /// The longest certificate of a client that gets a ticket, in bytes. The ticket holds the certificate, and the ClientHello holds the
    /// ticket: with the key shares of post-quantum groups the rest of both has 5 KiB.
    static let maxCertificate = HandshakeReader.maxMessage - 6 * 1024

    private struct State {
        /// The newest first.
        var keys: [TicketKey] = []
    }

    /// Guards the list of keys; held for a comparison or, once an hour, while a key is made.
    private let state = Mutex(State())
    /// Seconds of a clock that never jumps.
    private let uptime: @Sendable () -> Int64
    /// Seconds since 1970-01-01 UTC.
    let now: @Sendable () -> Int64
    // Safe to share: fetched once, and OpenSSL only reads it afterwards. Fetching it for each ticket would take longer than using it.
    nonisolated(unsafe) private let cipher: OpaquePointer?

    /// Makes the first key when it is needed.
    public convenience init() {
        self.init(uptime: { seconds(of: CLOCK_BOOTTIME) }, now: { seconds(of: CLOCK_REALTIME) })
    }

    init(uptime: @escaping @Sendable () -> Int64, now: @escaping @Sendable () -> Int64) {
        self.uptime = uptime
        self.now = now
        cipher = EVP_CIPHER_fetch(nil, "AES-256-CBC", nil)
    }

    deinit {
        EVP_CIPHER_free(cipher)
    }

    /// Whether a client with this certificate gets a ticket.
    static func fits(_ certificate: OpaquePointer) -> Bool { i2d_X509(certificate, nil) <= maxCertificate }

    /// The key that makes tickets now.
    private func currentKey() -> TicketKey? {
        let time = uptime()
        return state.withLock { state in
            if let key = state.keys.first, time - key.born < Self.rotation { return key }
            // A key is needed as long as the last ticket made with it is valid.
            state.keys.removeAll { time - $0.born >= Self.rotation + Self.lifetime }
            guard let key = TicketKey(born: time) else { return nil }
            state.keys.insert(key, at: 0)
            return key
        }
    }

    /// The key of this name, if it is still valid, and whether it makes tickets now.
    private func key(named name: UnsafeRawBufferPointer) -> (key: TicketKey, isCurrent: Bool)? {
        let time = uptime()
        return state.withLock { state in
            guard let index = state.keys.firstIndex(where: { $0.hasName(name) }) else { return nil }
            let key = state.keys[index]
            guard time - key.born < Self.rotation + Self.lifetime else { return nil }
            return (key, index == 0 && time - key.born < Self.rotation)
        }
    }

    /// Prepares OpenSSL to make a ticket or to open one.
    /// - Returns: the return value of OpenSSL's callback: 0 for an unknown key and for no ticket, negative for a failure, 2 to replace the ticket.
    func prepare(
        _ ssl: OpaquePointer, name: UnsafeMutablePointer<UInt8>, iv: UnsafeMutablePointer<UInt8>, _ encryption: OpaquePointer,
        _ mac: OpaquePointer, isNew: Bool
    ) -> Int32 {
        guard isNew else {
            guard let (key, isCurrent) = key(named: UnsafeRawBufferPointer(start: name, count: TicketKey.nameLength)) else { return 0 }
            guard key.prepare(encryption, mac, cipher, iv: iv, isNew: false) else { return -1 }
            // In TLS 1.3 a ticket is for one use (RFC 8446 section C.4), so each use brings the next one.
            return isCurrent && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2
        }
        // In TLS 1.3 OpenSSL does not ask (`judge`). In TLS 1.2 the ticket is then empty.
        if let certificate = SSL_get0_peer_certificate(ssl), !Self.fits(certificate) { return 0 }
        guard let key = currentKey(), RAND_bytes(iv, EVP_MAX_IV_LENGTH) == 1 else { return -1 }
        key.copyName(to: name)
        return key.prepare(encryption, mac, cipher, iv: iv, isNew: true) ? 1 : -1
    }
}

private func seconds(of clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec)
}

/// One key for session tickets: its name in the ticket, the key of the encryption, the key of the authentication. Immutable; wiped when it
/// is freed.
final class TicketKey: @unchecked Sendable {
    // Safe to share: `memory` is filled only in `init`, read afterwards, and freed by the last owner.

    static let nameLength = 16
    private static let keyLength = 32
    private static let length = nameLength + 2 * keyLength

    /// When it was made, by the clock of its owner.
    let born: Int64
    private let memory: UnsafeMutablePointer<UInt8>

    /// - Returns: `nil` when OpenSSL has no random bytes.
    init?(born: Int64) {
        self.born = born
        memory = .allocate(capacity: Self.length)
        memory.initialize(repeating: 0, count: Self.length)
        guard RAND_bytes(memory, Int32(Self.nameLength)) == 1,
            RAND_priv_bytes(memory + Self.nameLength, Int32(2 * Self.keyLength)) == 1
        else { return nil }
    }

    deinit {
        OPENSSL_cleanse(memory, Self.length)
        memory.deallocate()
    }

    func hasName(_ name: UnsafeRawBufferPointer) -> Bool {
        UnsafeRawBufferPointer(start: memory, count: Self.nameLength).elementsEqual(name)
    }

    func copyName(to target: UnsafeMutablePointer<UInt8>) {
        target.update(from: memory, count: Self.nameLength)
    }

    func prepare(
        _ encryption: OpaquePointer, _ mac: OpaquePointer, _ cipher: OpaquePointer?, iv: UnsafePointer<UInt8>, isNew: Bool
    ) -> Bool {
        let key = memory + Self.nameLength
        return copenssl_init_hmac_sha256(mac, key + Self.keyLength, Self.keyLength) == 1
            && EVP_CipherInit_ex(encryption, cipher, nil, key, iv, isNew ? 1 : 0) == 1
    }
}

/// What OpenSSL's ticket callbacks need. The context keeps it, because they hold it unretained.
final class TicketCallbacks: Sendable {
    /// The index that OpenSSL keeps for applications (`SSL_CTX_set_app_data`).
    private static let index: Int32 = 0

    private let tickets: SessionTickets
    private let policy: ClientPolicy

    init(tickets: SessionTickets, policy: ClientPolicy) {
        self.tickets = tickets
        self.policy = policy
    }

    /// Makes a server's context use the keys, and resume only sessions that its policy would still admit.
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

    /// Writes into a new ticket how long it, and the tickets that follow from it, may be used.
    private func stamp(_ ssl: OpaquePointer) -> Bool {
        // A resumed session keeps the end that its full handshake set: OpenSSL copies it.
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
