import COpenSSL
import NIOCore

/// One `SSL*` on memory buffers. Every call returns its result as a Swift value. It knows no channel. Only one thread at a time may use it.
final class TLSConnection {
    /// The side of the connection.
    enum Role {
        case server
        case client(hostname: String)

        var isServer: Bool {
            if case .server = self { true } else { false }
        }
    }

    /// How a step of the handshake ended.
    enum HandshakeResult {
        case wantsMore
        case completed
        case failed(TLSError, TLSHandshakeFailure)
    }

    /// How reading plaintext ended.
    enum ReadResult {
        /// The buffer is full, and more may follow.
        case full
        /// All received bytes were read.
        case wantsMore
        /// The peer sent close_notify, so no more bytes follow.
        case closed
        case failed(TLSError)
    }

    let ssl: OpaquePointer
    private let transport: BufferBIO
    // Kept, because OpenSSL's callbacks use it.
    let context: TLSContext
    /// The name that the peer's certificate must be for; empty for a server.
    let expectedName: String
    /// The result of the certificate check. Noted during the check, because OpenSSL keeps only the number of the problem.
    var verificationFailure: String?
    /// How many signatures `judgeIssuer` has verified.
    var issuerChecks = 0
    /// The bytes of an incomplete record.
    private var heldBytes = 0

    init(_ context: TLSContext, as role: Role) throws(TLSError) {
        OpenSSLErrorQueue.clear()
        guard let transport = BufferBIO(), let ssl = context.makeSSL() else { throw .openSSLFailed(OpenSSLErrorQueue.takeReason()) }
        self.context = context
        self.transport = transport
        self.ssl = ssl
        // Both directions share one reference, which SSL_set_bio takes.
        BIO_up_ref(transport.bio)
        SSL_set_bio(ssl, transport.bio, transport.bio)
        switch role {
        case .server:
            expectedName = ""
            SSL_set_accept_state(ssl)
            if context.verifiesPeer { SSL_set_ex_data(ssl, Self.selfIndex, Unmanaged.passUnretained(self).toOpaque()) }
        case .client(let hostname):
            expectedName = hostname
            SSL_set_connect_state(ssl)
            let name = HostnameVerification(hostname)
            if let indication = name.serverNameIndication {
                guard copenssl_set_tlsext_host_name(ssl, indication) == 1 else {
                    throw .openSSLFailed(OpenSSLErrorQueue.takeReason())
                }
            }
            guard context.verifiesPeer else { return }
            SSL_set_ex_data(ssl, Self.selfIndex, Unmanaged.passUnretained(self).toOpaque())
            guard name.apply(to: ssl) else {
                OpenSSLErrorQueue.clear()
                throw .peerNotVerified("\"\(hostname)\" is not a name that a certificate can be checked for")
            }
        }
    }

    deinit {
        SSL_free(ssl)
    }

    // MARK: Ciphertext

    /// Ciphertext from the network.
    func receive(_ bytes: ByteBuffer) {
        transport.receive(bytes)
    }

    /// Whether ciphertext waits that OpenSSL has not read.
    var hasReceived: Bool {
        transport.inboundBytes > 0
    }

    func discardReceived() {
        transport.discardInbound()
    }

    /// Bytes of ciphertext that wait for the network.
    var pendingCiphertext: Int {
        transport.outbound.readableBytes
    }

    func takeCiphertext() -> ByteBuffer {
        transport.takeOutbound()
    }

    func reserveCiphertext(_ capacity: Int, from allocator: ByteBufferAllocator) {
        transport.reserveOutbound(capacity, from: allocator)
    }

    // MARK: Handshake

    func handshake() -> HandshakeResult {
        OpenSSLErrorQueue.clear()
        let result = SSL_do_handshake(ssl)
        if result == 1 { return .completed }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .wantsMore
        case SSL_ERROR_ZERO_RETURN:
            return .failed(.alertReceived(OpenSSLErrorQueue.alertText(TLSAlert.closeNotify.rawValue)), .alert(.closeNotify))
        default: return handshakeFailure()
        }
    }

    /// Whether TLS 1.2 was chosen; meaningful once the peer's first message was read.
    var isTLS12: Bool { SSL_version(ssl) == TLS1_2_VERSION }

    /// The protocol that ALPN chose; `nil` when it was not used. Meaningful after the handshake.
    var applicationProtocol: String? {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &name, &count)
        guard let name, count > 0 else { return nil }
        return String(decoding: UnsafeBufferPointer(start: name, count: Int(count)), as: UTF8.self)
    }

    /// The names in a client's verified certificate, of a resumed session too.
    var clientNames: [AlternativeName] {
        guard context.verifiesClients, let certificate = SSL_get0_peer_certificate(ssl) else { return [] }
        return AlternativeName.all(of: certificate)
    }

    private func handshakeFailure() -> HandshakeResult {
        let code = OpenSSLErrorQueue.cause
        defer { OpenSSLErrorQueue.clear() }
        if let alert = OpenSSLErrorQueue.receivedAlert(in: code) {
            return .failed(.alertReceived(OpenSSLErrorQueue.alertText(alert)), .alert(TLSAlert(number: alert)))
        }
        if OpenSSLErrorQueue.isReason(SSL_R_CERTIFICATE_VERIFY_FAILED, of: ERR_LIB_SSL, code) {
            let verdict = SSL_get_verify_result(ssl)
            let reason = verificationFailure ?? String(cString: X509_verify_cert_error_string(verdict))
            return .failed(.peerNotVerified(reason), TLSHandshakeFailure(verifyResult: verdict))
        }
        let failure = TLSHandshakeFailure(openSSLError: code)
        switch failure {
        // In TLS 1.2 OpenSSL leaves out the suites whose groups the client lacks, and then finds none.
        case .cipherSuite where isTLS12 && copenssl_peer_groups(ssl) > 0 && copenssl_shared_groups(ssl) == 0:
            return .failed(.handshakeFailed("no shared groups"), .curve)
        case .notTLS: return .failed(.handshakeFailed("the peer does not speak TLS"), failure)
        case .version where !OpenSSLErrorQueue.isReason(SSL_R_INAPPROPRIATE_FALLBACK, of: ERR_LIB_SSL, code):
            return .failed(.handshakeFailed("the peer speaks no version of TLS that is allowed here"), failure)
        case .noCertificate: return .failed(.handshakeFailed("the client has no certificate"), failure)
        default: return .failed(.handshakeFailed(OpenSSLErrorQueue.reason(of: code)), failure)
        }
    }

    // MARK: Application data

    /// A capacity for `read(into:)` that probably fits everything. Plaintext is never longer than its ciphertext.
    var likelyPlaintext: Int {
        min(64 * 1024, max(64, Int(SSL_pending(ssl)) + transport.inboundBytes + heldBytes))
    }

    /// Appends plaintext until `buffer` is full or all received bytes were read.
    func read(into buffer: inout ByteBuffer) -> ReadResult {
        while buffer.writableBytes > 0 {
            OpenSSLErrorQueue.clear()
            let consumedBefore = transport.bytesRead
            var result: Int32 = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) { space in
                var count = 0
                result = SSL_read_ex(ssl, space.baseAddress, space.count, &count)
                return result == 1 ? count : 0
            }
            if result == 1 {
                heldBytes = 0
                continue
            }
            switch SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE:
                heldBytes = min(heldBytes + transport.bytesRead - consumedBefore, 17 * 1024)
                return .wantsMore
            case SSL_ERROR_ZERO_RETURN:
                return .closed
            default:
                return .failed(connectionFailure())
            }
        }
        return .full
    }

    /// Encrypts plaintext.
    /// - Returns: how many bytes were taken; 0 when OpenSSL must first read from the peer.
    func write(_ bytes: UnsafeRawBufferPointer) throws(TLSError) -> Int {
        OpenSSLErrorQueue.clear()
        var count = 0
        let result = SSL_write_ex(ssl, bytes.baseAddress, bytes.count, &count)
        if result == 1 { return count }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return 0
        default: throw connectionFailure()
        }
    }

    /// Sends close_notify. Not to be called after a failure.
    func sendCloseNotify() {
        OpenSSLErrorQueue.clear()
        if SSL_shutdown(ssl) < 0 { OpenSSLErrorQueue.clear() }
    }

    private func connectionFailure() -> TLSError {
        let code = OpenSSLErrorQueue.first
        defer { OpenSSLErrorQueue.clear() }
        if let alert = OpenSSLErrorQueue.receivedAlert(in: code) { return .alertReceived(OpenSSLErrorQueue.alertText(alert)) }
        return .protocolViolation(OpenSSLErrorQueue.reason(of: code))
    }
}

/// The transport that OpenSSL reads from and writes to: two `ByteBuffer`s in memory.
/// Owns one reference to its `BIO`. The `SSL` holds others, and must be freed before this object.
final class BufferBIO {
    /// Ciphertext that OpenSSL has not read yet. OpenSSL keeps the beginning of a record itself, so this is empty whenever it wants more.
    private var inbound = ByteBuffer()
    /// Ciphertext that waits for the network.
    private(set) var outbound = ByteBuffer()
    /// How many bytes OpenSSL has read since start. The difference between two moments tells how much of a record it holds.
    private(set) var bytesRead = 0

    let bio: OpaquePointer

    /// - Returns: `nil` when OpenSSL has no memory left.
    init?() {
        guard let method = BIOMethod.shared.pointer, let bio = BIO_new(method) else { return nil }
        self.bio = bio
        // Unretained: this object frees the BIO's last reference, so no callback comes after it is freed.
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
    }

    deinit {
        BIO_set_data(bio, nil)
        BIO_free(bio)
    }

    /// Bytes from the network that OpenSSL has not read yet.
    var inboundBytes: Int {
        inbound.readableBytes
    }

    func receive(_ bytes: ByteBuffer) {
        guard inbound.readableBytes > 0 else {
            inbound = bytes
            return
        }
        inbound.writeImmutableBuffer(bytes)
    }

    /// Makes room, so that the records of one gathered write do not grow the buffer step by step.
    func reserveOutbound(_ capacity: Int, from allocator: ByteBufferAllocator) {
        guard outbound.readableBytes == 0 else {
            outbound.reserveCapacity(minimumWritableBytes: capacity)
            return
        }
        outbound = allocator.buffer(capacity: capacity)
    }

    /// The ciphertext for the network so far.
    func takeOutbound() -> ByteBuffer {
        let bytes = outbound
        outbound = ByteBuffer()
        return bytes
    }

    /// Discards received bytes that will not be read.
    func discardInbound() {
        inbound = ByteBuffer()
    }

    fileprivate func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(target.count, inbound.readableBytes)
        guard count > 0 else { return 0 }
        inbound.readWithUnsafeReadableBytes { source in
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<count]))
            return count
        }
        bytesRead += count
        if inbound.readableBytes == 0 {
            // Frees the network's buffer now, not when the next bytes come.
            inbound = ByteBuffer()
        }
        return count
    }

    fileprivate func write(_ bytes: UnsafeRawBufferPointer) {
        outbound.writeBytes(bytes)
    }
}

/// The functions of every `BufferBIO`, made once for the process.
///
/// `@unchecked Sendable`: only `init` writes to the pointer's memory, OpenSSL only reads it afterwards, and it is never freed.
private struct BIOMethod: @unchecked Sendable {
    let pointer: OpaquePointer?

    static let shared = BIOMethod()

    private init() {
        pointer = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ByteBuffer")
        BIO_meth_set_read_ex(pointer) { bio, target, length, count in
            guard let buffer = BufferBIO.behind(bio), let target else { return 0 }
            BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
            let read = buffer.read(into: UnsafeMutableRawBufferPointer(start: target, count: length))
            count?.pointee = read
            guard read > 0 else {
                BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
                return 0
            }
            return 1
        }
        BIO_meth_set_write_ex(pointer) { bio, source, length, count in
            guard let buffer = BufferBIO.behind(bio), let source else { return 0 }
            BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
            buffer.write(UnsafeRawBufferPointer(start: source, count: length))
            count?.pointee = length
            return 1
        }
        BIO_meth_set_ctrl(pointer) { _, command, _, _ in
            // The handshake flushes after each flight and fails unless this succeeds.
            command == BIO_CTRL_FLUSH ? 1 : 0
        }
    }
}

extension BufferBIO {
    fileprivate static func behind(_ bio: OpaquePointer?) -> BufferBIO? {
        guard let bio, let data = BIO_get_data(bio) else { return nil }
        return Unmanaged<BufferBIO>.fromOpaque(data).takeUnretainedValue()
    }
}
