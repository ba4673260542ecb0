import COpenSSL
import Glibc
import Synchronization

/// The keys that protect session tickets (RFC 5077, RFC 8446 section 4.6.1): beside the contexts and shared by them, so that clients
/// resume across a reload. They live in memory alone and are replaced as time passes, so that what leaks later opens little.
///
/// Whether a ticket still admits its bearer is not decided by its key: each context binds its rules to its tickets.
public final class SessionTickets: Sendable {
    /// How long one key makes tickets.
    static let rotation: Int64 = 3600
    /// How long a ticket resumes.
    static let lifetime: Int64 = 7200
    /// How long a client may go from ticket to ticket before it must make a whole handshake.
    static let longestChain: Int64 = 86400

    private struct State {
        /// The newest first.
        var keys: [TicketKey] = []
    }

    /// Guards the list of keys; held for a comparison or, once an hour, for making a key.
    private let state = Mutex(State())
    /// Seconds that never jump.
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

    /// The key that makes tickets now.
    private func currentKey() -> TicketKey? {
        let time = uptime()
        return state.withLock { state in
            if let key = state.keys.first, time - key.born < Self.rotation { return key }
            // A key is of use for as long as the last ticket made with it.
            state.keys.removeAll { time - $0.born >= Self.rotation + Self.lifetime }
            guard let key = TicketKey(born: time) else { return nil }
            state.keys.insert(key, at: 0)
            return key
        }
    }

    /// The key of this name, if it is still of use, and whether it is the one that makes tickets now.
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
    /// - Returns: what OpenSSL's callback returns: 0 for a key that is not known, negative for a failure, 2 to have the ticket replaced.
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
