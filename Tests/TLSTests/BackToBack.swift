import COpenSSL
import NIOCore
import NIOEmbedded
import NIOTLS
import TestSupport

@testable import TLS

/// What a handler above TLS saw, in order.
enum Seen: Equatable {
    case active
    case handshake(String?)
    case bytes(String)
    case inputClosed
    case shutdownCompleted
    case error(TLSError)
    case otherError
    case inactive
}

/// The handler above TLS: records everything, forwards nothing.
final class Recorder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    var seen: [Seen] = []
    var received = ByteBuffer()
    var writabilityChanges: [Bool] = []
    var onEvent: ((Seen, ChannelHandlerContext) -> Void)?

    private func note(_ event: Seen, _ context: ChannelHandlerContext) {
        seen.append(event)
        onEvent?(event, context)
    }

    func channelActive(context: ChannelHandlerContext) { note(.active, context) }
    func channelInactive(context: ChannelHandlerContext) { note(.inactive, context) }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        note(.bytes(bytes.readableBytes < 100 ? String(buffer: bytes) : "\(bytes.readableBytes) bytes"), context)
        received.writeBuffer(&bytes)
    }
    func channelWritabilityChanged(context: ChannelHandlerContext) { writabilityChanges.append(context.channel.isWritable) }
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted(let name): note(.handshake(name), context)
        case TLSUserEvent.shutdownCompleted: note(.shutdownCompleted, context)
        case ChannelEvent.inputClosed: note(.inputClosed, context)
        default: break
        }
    }
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        note((error as? TLSError).map(Seen.error) ?? .otherError, context)
    }

    /// What was seen without the activation.
    var story: [Seen] { seen.filter { $0 != .active } }
    var errors: [TLSError] { seen.compactMap { if case .error(let error) = $0 { error } else { nil } } }
    var text: String { String(buffer: received) }
}

/// The network's side: records how the channel is closed, and keeps it open when only one direction is closed.
final class Bottom: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    var closes: [CloseMode] = []
    var writeSizes: [Int] = []
    var reads = 0
    /// Called in place of each write, which fails.
    var onWrite: ((ByteBuffer, ChannelHandlerContext) -> Void)?

    func read(context: ChannelHandlerContext) {
        reads += 1
        context.read()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let bytes = unwrapOutboundIn(data)
        writeSizes.append(bytes.readableBytes)
        guard let onWrite else { return context.write(data, promise: promise) }
        promise?.fail(ChannelError.ioOnClosedChannel)
        onWrite(bytes, context)
    }
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        closes.append(mode)
        guard mode == .all else {
            promise?.succeed()
            return
        }
        context.close(mode: mode, promise: promise)
    }
}

/// One end in memory.
final class End {
    let channel: EmbeddedChannel
    let tls: TLSHandler
    let recorder = Recorder()
    let bottom = Bottom()

    init(_ tls: TLSHandler, loop: EmbeddedEventLoop, halfOpen: Bool = true) throws {
        self.tls = tls
        channel = EmbeddedChannel(loop: loop)
        channel.allowRemoteHalfClosure = halfOpen
        try channel.pipeline.syncOperations.addHandlers([bottom, tls, recorder])
    }

    func activate() throws {
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    func write(_ text: String) -> EventLoopFuture<Void> { channel.writeAndFlush(ByteBuffer(string: text)) }

    /// Ciphertext for the other end.
    func takeOutbound() throws -> ByteBuffer? { try channel.readOutbound(as: ByteBuffer.self) }

    func receive(_ bytes: ByteBuffer) {
        channel.pipeline.fireChannelRead(bytes)
        channel.pipeline.fireChannelReadComplete()
    }

    /// The other end's last byte came.
    func receiveFIN() { channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
    func loseTransport() { channel.pipeline.fireChannelInactive() }

    /// Closes at once; an EmbeddedChannel must be closed.
    func finish() {
        guard channel.isActive else { return }
        channel.abort()
        _ = try? channel.finish(acceptAlreadyClosed: true)
    }
}

/// What was agreed on in a handshake.
struct Negotiation {
    let isTLS12: Bool
    let cipherSuite: String
    let applicationProtocol: String?
    let isResumed: Bool
}

extension TLSHandler {
    /// `nil` before the handshake is complete.
    var negotiation: Negotiation? {
        guard let connection, !machine.isHandshaking else { return nil }
        let cipher = SSL_get_current_cipher(connection.ssl)
        return Negotiation(
            isTLS12: connection.isTLS12, cipherSuite: SSL_CIPHER_standard_name(cipher).map { String(cString: $0) } ?? "",
            applicationProtocol: connection.applicationProtocol, isResumed: SSL_session_reused(connection.ssl) == 1)
    }
}

/// A client and a server that receive each other's ciphertext.
final class BackToBack {
    let loop = EmbeddedEventLoop()
    let client: End
    let server: End

    init(client: TLSHandler, server: TLSHandler, halfOpen: Bool = true) throws {
        self.client = try End(client, loop: loop, halfOpen: halfOpen)
        self.server = try End(server, loop: loop, halfOpen: halfOpen)
    }

    convenience init(
        client: TLSContext = Contexts.client, hostname: String = "localhost", server: TLSContext = Contexts.server, halfOpen: Bool = true
    ) throws {
        try self.init(client: TLSHandler(client: client, hostname: hostname), server: TLSHandler(server: server), halfOpen: halfOpen)
    }

    deinit {
        client.finish()
        server.finish()
    }

    func connect() throws {
        try server.activate()
        try client.activate()
        try interact()
    }

    /// Delivers until both are silent. The server sees the end of a refused client that has closed.
    /// - Parameter pieceSize: how many bytes at a time.
    func interact(pieceSize: Int = .max) throws {
        var moved = true
        while moved {
            moved = false
            for (from, to) in [(client, server), (server, client)] {
                while var bytes = try from.takeOutbound() {
                    moved = true
                    while let piece = bytes.readSlice(length: min(pieceSize, bytes.readableBytes)), piece.readableBytes > 0 {
                        to.receive(piece)
                    }
                }
            }
            loop.run()
        }
        if !client.channel.isActive, server.tls.machine.isLingering { server.receiveFIN() }
    }
}

/// Contexts that many tests share; making certificates is the slow part.
enum Contexts {
    static let ca: ThrowawayCA = make { try ThrowawayCA() }
    static let otherCA: ThrowawayCA = make { try ThrowawayCA(name: "Other CA") }
    static let serverCertificate: ThrowawayCertificate = make { try ca.serverCertificate() }
    static let server: TLSContext = make { try TLSContext(server: serverSettings()) }
    static let client: TLSContext = make { try TLSContext(client: clientSettings()) }

    static func serverSettings(_ certificate: ThrowawayCertificate = serverCertificate) -> TLSServerSettings {
        TLSServerSettings(certificateChain: Array(certificate.chainPEM.utf8), privateKey: Array(certificate.privateKeyPEM.utf8))
    }

    static func clientSettings(trusting ca: ThrowawayCA = ca) -> TLSClientSettings {
        TLSClientSettings(trustRoots: .certificates(Array(ca.certificatePEM.utf8)))
    }

    static func server(
        _ certificate: ThrowawayCertificate = serverCertificate, _ change: (inout TLSServerSettings) -> Void = { _ in }
    ) throws -> TLSContext {
        var settings = serverSettings(certificate)
        change(&settings)
        return try TLSContext(server: settings)
    }

    static func client(_ change: (inout TLSClientSettings) -> Void) throws -> TLSContext {
        var settings = clientSettings()
        change(&settings)
        return try TLSContext(client: settings)
    }

    static func make<Value>(_ body: () throws -> Value) -> Value {
        do { return try body() } catch { fatalError("the tests' own certificates could not be made: \(error)") }
    }
}
