import NIOCore
import NIOEmbedded
import NIOTLS
import TLS
import TestSupport

/// One end of TLS in memory, with an application that checks what `TLSHandler` promises.
final class TLSEnd {
    final class Application: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private(set) var received: [UInt8] = []
        private(set) var isConnected = false
        /// The peer's close_notify came.
        private(set) var hasEnded = false
        private(set) var error: TLSError?
        private var isInactive = false

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            precondition(isConnected && !hasEnded && error == nil && !isInactive, "bytes out of turn")
            received += unwrapInboundIn(data).readableBytesView
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            switch event {
            case TLSUserEvent.handshakeCompleted:
                precondition(!isConnected && error == nil, "a handshake completed out of turn")
                isConnected = true
            case ChannelEvent.inputClosed:
                precondition(isConnected && !hasEnded && error == nil, "an end out of turn")
                hasEnded = true
            default: break
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            guard let error = error as? TLSError else { preconditionFailure("\(error)") }
            precondition(self.error == nil && !isInactive, "\(error) after \(String(describing: self.error))")
            precondition(!error.description.isEmpty && !error.description.contains { $0.isNewline }, error.description)
            self.error = error
        }

        func channelInactive(context: ChannelHandlerContext) { isInactive = true }
    }

    let channel: EmbeddedChannel
    let application = Application()
    private(set) var sent: [UInt8] = []
    /// Whether the test has ended its side.
    private(set) var isClosed = false

    init(_ handler: TLSHandler, _ loop: EmbeddedEventLoop) {
        channel = EmbeddedChannel(loop: loop)
        channel.allowRemoteHalfClosure = true
        do {
            try channel.pipeline.syncOperations.addHandlers([HalfClosing(), handler, application])
            channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        } catch {
            fatalError("in memory none of this can fail: \(error)")
        }
    }

    func write(_ count: Int) {
        guard channel.isActive, !isClosed, application.error == nil else { return }
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: sent.count + $0) }
        sent += bytes
        channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }

    func close(_ mode: CloseMode) {
        isClosed = true
        channel.close(mode: mode, promise: nil)
    }

    func receive(_ bytes: some Sequence<UInt8>) {
        guard channel.isActive else { return }
        // With free room, like a read buffer.
        var buffer = ByteBuffer()
        buffer.reserveCapacity(2048)
        buffer.writeBytes(bytes)
        channel.pipeline.fireChannelRead(buffer)
        channel.pipeline.fireChannelReadComplete()
        channel.embeddedEventLoop.run()
    }

    func receiveFIN() {
        guard channel.isActive else { return }
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        channel.embeddedEventLoop.run()
    }

    /// Ciphertext for the other end.
    func takeOutbound() -> [UInt8] {
        var bytes: [UInt8] = []
        while let buffer = try? channel.readOutbound(as: ByteBuffer.self) { bytes += buffer.readableBytesView }
        return bytes
    }

    /// The peer is gone: everything that waits ends.
    func end() {
        receiveFIN()
        if channel.isActive { channel.close(promise: nil) }
        channel.embeddedEventLoop.advanceTime(by: .seconds(60))
        precondition(!channel.isActive, "the connection does not end")
    }

    /// Keeps the channel when one direction alone is closed, as a socket does.
    private final class HalfClosing: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer

        func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            guard mode == .all else {
                promise?.succeed()
                return
            }
            context.close(mode: mode, promise: promise)
        }
    }
}

/// Contexts for the fuzzers, made once with certificates of their own.
enum TLSContexts {
    static let authorities: ThrowawayCA = make { try ThrowawayCA() }

    /// Of each kind of client authentication; both versions of TLS, or one.
    static let servers: [TLSContext] = make {
        let certificate = try authorities.serverCertificate()
        let revocations = try authorities.revocationList()
        return try ClientAuthentication.allCases.flatMap { kind in
            try [(TLSProtocolVersion.tls12, TLSProtocolVersion.tls13), (.tls12, .tls12), (.tls13, .tls13)].map { versions in
                var settings = TLSServerSettings(
                    certificateChain: Array(certificate.chainPEM.utf8), privateKey: Array(certificate.privateKeyPEM.utf8),
                    minVersion: versions.0, maxVersion: versions.1, clientAuthentication: kind,
                    applicationProtocols: ["http/1.1"])
                if kind != .none { settings.clientAuthorities = Array(authorities.certificatePEM.utf8) }
                if kind == .requireAndVerify {
                    settings.clientRevocations = Array(revocations.utf8)
                    settings.allowedClientNames = ["fuzzer.example"]
                }
                return try TLSContext(server: settings)
            }
        }
    }

    static let client: TLSContext = make {
        let certificate = try authorities.clientCertificate(names: ["fuzzer.example"])
        return try TLSContext(
            client: TLSClientSettings(
                trustRoots: .certificates(Array(authorities.certificatePEM.utf8)), certificateChain: Array(certificate.chainPEM.utf8),
                privateKey: Array(certificate.privateKeyPEM.utf8), applicationProtocols: ["http/1.1"]))
    }

    private static func make<Value>(_ body: () throws -> Value) -> Value {
        do { return try body() } catch { fatalError("the fuzzer's own certificates could not be made: \(error)") }
    }
}
