import NIOCore
import Synchronization

/// Reads the bytes of a peer's handshake before OpenSSL does, and passes on complete messages only.
///
/// OpenSSL allocates the length that a handshake message announces, before it receives the message. This reader checks the announced
/// length first, keeps a message until it is complete, and refuses one that is too long. It holds only received bytes, at most one message
/// and one record. Messages may be split into any number of records (RFC 8446 section 5.1).
///
/// Only messages in plain text can be read: every ClientHello, also the second one after a HelloRetryRequest, and in TLS 1.2 all messages
/// up to ChangeCipherSpec. Encrypted messages pass; OpenSSL limits those by `maxCertificateMessage`.
struct HandshakeReader {
    /// What to do next.
    enum Step: Equatable {
        /// More bytes are needed.
        case wait
        /// Give these bytes to OpenSSL, then ask again.
        case pass(ByteBuffer)
        case refuse(Refusal)
    }

    /// Why the handshake ends here.
    enum Refusal: Equatable {
        /// A request in plain HTTP.
        case plainHTTP
        /// Neither TLS nor HTTP.
        case notTLS
        /// Send this alert, and close.
        case alert(TLSAlert, TLSHandshakeFailure, reason: String)
    }

    /// The longest message of a client, in bytes without its header. A ClientHello with the key shares of today's post-quantum groups has
    /// 1.5 to 4 KiB.
    static let maxMessage = 16 * 1024
    /// The longest Certificate message of a client, and the longest message of a server, in bytes.
    static let maxCertificateMessage = (client: 32 * 1024, server: 64 * 1024)
    /// The bytes that the headers of a message's records may add to it.
    private static let maxFraming = 8 * 1024

    private let isServer: Bool
    /// Bytes from the network that were not passed on.
    private var bytes = ByteBuffer()
    /// How many of `bytes` were checked; these are complete records.
    private var scanned = 0
    /// How many of `bytes` end with a complete message and may be passed on.
    private var ready = 0
    /// The beginning of a message whose header of four bytes is not complete.
    private var header: [UInt8] = []
    /// The missing bytes of the message that has begun.
    private var missing = 0
    /// No bytes were passed on yet, so OpenSSL does not know the version.
    private var isFirst = true
    /// The following bytes cannot be read.
    private var isOver = false
    /// Why the record after `ready` is refused, once OpenSSL has read what comes before.
    private var refusal: Refusal?

    init(isServer: Bool) {
        self.isServer = isServer
    }

    /// The memory that is held, in bytes.
    var heldBytes: Int { bytes.readableBytes == 0 ? 0 : bytes.storageCapacity }

    /// Adds bytes from the network. Call `next` until it waits.
    mutating func receive(_ more: ByteBuffer) {
        if bytes.readableBytes == 0 { bytes = more } else { bytes.writeImmutableBuffer(more) }
    }

    /// Returns all remaining bytes after the handshake.
    mutating func takeRest() -> ByteBuffer {
        defer { bytes = ByteBuffer() }
        return bytes
    }

    /// - Parameter isTLS12: whether OpenSSL has chosen TLS 1.2; asked only after it has read a first message.
    mutating func next(isTLS12: () -> Bool) -> Step {
        if let refusal { return .refuse(refusal) }
        guard bytes.readableBytes > 0 else { return .wait }
        if isOver { return passAll() }
        if isServer, isFirst, scanned == 0 {
            switch FirstBytes(bytes.readableBytesView) {
            case .plainHTTP: return .refuse(.plainHTTP)
            case .notTLS: return .refuse(.notTLS)
            case .sslv2: return .refuse(.alert(.protocolVersion, .version, reason: "unsupported protocol"))
            case .undecided: return wait()
            case .tls: break
            }
        }
        while let record = Record(in: bytes, at: scanned) {
            if isServer, isFirst, let refusal = record.refusalBeforeHello { return .refuse(refusal) }
            // OpenSSL refuses these at once.
            guard record.isPossible else {
                isOver = true
                return passAll()
            }
            if record.kind == Record.changeCipherSpec {
                // OpenSSL must read the bytes before it to know what follows.
                if isFirst, ready > 0 { break }
                if !isFirst, isTLS12() {
                    isOver = true
                    return passAll()
                }
            }
            guard scanned + record.totalLength <= bytes.readableBytes else { break }
            refusal = read(record)
            if refusal != nil || (isFirst && ready > 0) { break }
        }
        if ready == 0, let refusal { return .refuse(refusal) }
        guard ready > 0 else {
            return scanned > limit + Self.maxFraming ? .refuse(.tooLong("the handshake message is cut into too many records")) : wait()
        }
        guard let unit = bytes.readSlice(length: ready) else { return .wait }
        scanned -= ready
        ready = 0
        isFirst = false
        return .pass(unit)
    }

    /// The longest message that this peer may send.
    private var limit: Int { isServer ? Self.maxCertificateMessage.client : Self.maxCertificateMessage.server }

    private mutating func passAll() -> Step {
        .pass(takeRest())
    }

    private mutating func wait() -> Step {
        // The network's buffer is larger than what is kept of it.
        bytes = bytes.withTightStorage()
        return .wait
    }

    /// Checks one complete record.
    private mutating func read(_ record: Record) -> Refusal? {
        let end = scanned + record.totalLength
        if record.kind == Record.handshake {
            let start = bytes.readerIndex + scanned + Record.headerLength
            guard let payload = bytes.viewBytes(at: start, length: record.length) else { return nil }
            if let refusal = read(payload) { return refusal }
        } else if missing > 0 || !header.isEmpty {
            return .unexpected("another record came within a handshake message")
        }
        scanned = end
        if missing == 0, header.isEmpty { ready = end }
        return nil
    }

    /// Follows the messages through the payload of a record.
    private mutating func read(_ payload: ByteBufferView) -> Refusal? {
        var position = payload.startIndex
        while position < payload.endIndex {
            if missing > 0 {
                let count = min(missing, payload.endIndex - position)
                missing -= count
                position += count
                continue
            }
            header.append(payload[position])
            position += 1
            guard header.count == 4 else { continue }
            let kind = header[0]
            missing = Int(header[1]) << 16 | Int(header[2]) << 8 | Int(header[3])
            header.removeAll(keepingCapacity: true)
            if isServer, isFirst, kind != Self.clientHello { return .unexpected("the first message is no ClientHello") }
            // A server may list the authorities that it accepts, which can be many.
            let longest = isServer && kind != Self.certificate ? Self.maxMessage : limit
            guard missing <= longest else {
                return .tooLong("a handshake message announces \(missing) bytes, more than \(longest)")
            }
        }
        return nil
    }

    private static let clientHello: UInt8 = 1
    private static let certificate: UInt8 = 11
}

extension HandshakeReader.Refusal {
    fileprivate static func unexpected(_ reason: String) -> Self { .alert(.unexpectedMessage, .protocolError, reason: reason) }
    // The alert that OpenSSL sends for a message above its own limits.
    fileprivate static func tooLong(_ reason: String) -> Self { .alert(.illegalParameter, .messageTooLarge, reason: reason) }
}

/// The header of a record (RFC 8446 section 5.1).
private struct Record {
    static let headerLength = 5
    static let changeCipherSpec: UInt8 = 20
    static let handshake: UInt8 = 22
    /// The most plaintext in a record.
    private static let maxPlaintext = 1 << 14
    /// The most that TLS 1.2 allows encryption to add (RFC 5246 section 6.2.3).
    private static let maxExpansion = 2048

    let kind: UInt8
    let majorVersion: UInt8
    let length: Int

    var totalLength: Int { Self.headerLength + length }

    /// - Returns: `nil` while the header is not whole.
    init?(in bytes: ByteBuffer, at offset: Int) {
        let start = bytes.readerIndex + offset
        guard let kind = bytes.getInteger(at: start, as: UInt8.self), let major = bytes.getInteger(at: start + 1, as: UInt8.self),
            let length = bytes.getInteger(at: start + 3, as: UInt16.self)
        else { return nil }
        self.kind = kind
        majorVersion = major
        self.length = Int(length)
    }

    /// Why a server without a ClientHello refuses this record.
    var refusalBeforeHello: HandshakeReader.Refusal? {
        guard kind == Self.handshake else { return .unexpected("the first record is not a handshake record") }
        guard majorVersion == 3 else { return .notTLS }
        guard length <= Self.maxPlaintext else {
            return .alert(.recordOverflow, .protocolError, reason: "a record announces \(length) bytes")
        }
        return length == 0 ? .unexpected("a handshake record is empty") : nil
    }

    /// Whether OpenSSL would accept its header.
    var isPossible: Bool {
        majorVersion == 3 && (20...24).contains(kind)
            && (kind == Self.handshake ? (1...Self.maxPlaintext).contains(length) : length <= Self.maxPlaintext + Self.maxExpansion)
    }
}

/// What a client's first bytes on a TLS port look like.
enum FirstBytes: Equatable {
    /// A request in plain HTTP.
    case plainHTTP
    /// Neither TLS nor HTTP.
    case notTLS
    /// The ClientHello of SSL 2.0.
    case sslv2
    /// A record of TLS.
    case tls
    /// Too few to tell.
    case undecided

    private static let methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "PRI "]

    init(_ bytes: ByteBufferView) {
        guard let first = bytes.first else {
            self = .undecided
            return
        }
        // Records of TLS begin with a number from 20 to 24 (RFC 8446 section 5.1), the hello of SSL 2.0 with its highest bit set.
        if (20...24).contains(first) {
            self = .tls
            return
        }
        // SSL 2.0: a length, then the number of a ClientHello.
        if first >= 0x80 {
            self = bytes.count < 3 ? .undecided : bytes[bytes.startIndex + 2] == 1 ? .sslv2 : .notTLS
            return
        }
        self = .notTLS
        for method in Self.methods {
            if bytes.starts(with: method.utf8) { self = .plainHTTP }
            if bytes.count < method.utf8.count, method.utf8.starts(with: bytes) { self = .undecided }
        }
    }
}

extension ByteBuffer {
    /// Copies the bytes to a smaller storage, unless the present one is not much larger.
    fileprivate func withTightStorage() -> ByteBuffer {
        guard readableBytes > 0, storageCapacity > 2 * max(readableBytes, 128) else { return self }
        var copy = ByteBuffer()
        copy.reserveCapacity(readableBytes)
        copy.writeImmutableBuffer(self)
        return copy
    }
}

/// Counts bytes that are held for peers. Used from any thread.
public protocol HandshakeBudget: Sendable {
    /// Counts `bytes` more.
    func add(_ bytes: Int)
    /// Counts `bytes` less.
    func release(_ bytes: Int)
}

/// Limits the memory of all TLS handshakes in progress together.
///
/// A server's handshake reserves memory before it uses it. When that does not fit, the oldest handshakes of the same event loop end first,
/// with the reason `too_many`: a peer that continues needs a moment, while an attacker stays until the deadline. The handshakes of clients
/// are counted but do not reduce the limit of servers, because the configuration determines their number.
public final class HandshakeLimit: SharedSetting, Sendable {
    /// The limit of the handshakes of all servers together, in bytes. Enough for about 1,100 without client certificates.
    public static let maxBytes = 64 << 20

    /// The most bytes that one handshake holds inside OpenSSL: measured with OpenSSL 3.0 for both versions of TLS.
    static let connectionCost = 56 * 1024
    /// Additional bytes while the peer's Certificate message is read.
    static let certificateCost = (client: 48 * 1024, server: 96 * 1024)

    private let budget: any HandshakeBudget
    private let limit: Int
    /// Guards the lists of handshakes; held for a few steps.
    private let state = Mutex(State())

    private struct State {
        /// The bytes that servers have reserved.
        var reserved = 0
        var lastNumber: UInt64 = 0
        var byLoop: [ObjectIdentifier: Handshakes] = [:]
    }

    /// A handshake among those of its event loop.
    struct Ticket {
        fileprivate let number: UInt64
        fileprivate let loop: ObjectIdentifier
    }

    /// The server's handshakes of one event loop.
    private struct Handshakes {
        private var handlers: [UInt64: NIOLoopBound<TLSHandler>] = [:]
        /// The numbers in order of age. Those that have ended are dropped when they come to the front.
        private var order = CircularBuffer<UInt64>()

        mutating func begin(_ number: UInt64, _ handler: NIOLoopBound<TLSHandler>) {
            handlers[number] = handler
            order.append(number)
        }

        mutating func end(_ number: UInt64) {
            handlers[number] = nil
            while let first = order.first, handlers[first] == nil { order.removeFirst() }
            // One long handshake must not keep the numbers of all later ones.
            guard order.count > 64, order.count > 2 * handlers.count else { return }
            order = CircularBuffer(order.filter { handlers[$0] != nil })
        }

        func oldest(before number: UInt64) -> NIOLoopBound<TLSHandler>? {
            guard let first = order.first, first < number else { return nil }
            return handlers[first]
        }
    }

    /// - Parameters:
    ///   - budget: counts all handshakes.
    ///   - limit: of servers, in bytes.
    public init(_ budget: any HandshakeBudget, limit: Int = maxBytes) {
        self.budget = budget
        self.limit = limit
    }

    /// Adds a server's handshake.
    func begin(_ handler: TLSHandler, on eventLoop: any EventLoop) -> Ticket {
        let bound = NIOLoopBound(handler, eventLoop: eventLoop)
        let loop = ObjectIdentifier(eventLoop)
        return state.withLock { state in
            state.lastNumber += 1
            state.byLoop[loop, default: Handshakes()].begin(state.lastNumber, bound)
            return Ticket(number: state.lastNumber, loop: loop)
        }
    }

    /// Removes a server's handshake.
    func end(_ ticket: Ticket) {
        state.withLock { $0.byLoop[ticket.loop]?.end(ticket.number) }
    }

    /// Reserves bytes for a server's handshake; ends older ones on the same event loop when they do not fit.
    /// - Returns: whether they fit now.
    func reserve(_ bytes: Int, for ticket: Ticket) -> Bool {
        while !reserve(bytes) {
            guard let oldest = oldest(before: ticket) else { return false }
            oldest.endForOthers()
        }
        budget.add(bytes)
        return true
    }

    private func reserve(_ bytes: Int) -> Bool {
        state.withLock { state in
            guard bytes <= limit - state.reserved else { return false }
            state.reserved += bytes
            return true
        }
    }

    /// Counts bytes of a client's handshake.
    func add(_ bytes: Int) {
        budget.add(bytes)
    }

    /// Gives back what was reserved, or added by a client.
    func release(_ bytes: Int, ofServer: Bool) {
        budget.release(bytes)
        if ofServer { state.withLock { $0.reserved -= bytes } }
    }

    private func oldest(before ticket: Ticket) -> TLSHandler? {
        state.withLock { $0.byLoop[ticket.loop]?.oldest(before: ticket.number) }?.value
    }
}
