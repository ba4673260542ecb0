import NIOCore
import NIOPosix
import NIOTLS
import Proxy
import TLS
import TestSupport
import Testing

@testable import Services

@Suite("PushExchangeHandler")
struct PushExchangeHandlerTests {
    private typealias Outcome = Result<Void, PushExchangeHandler.Failure>

    /// Ends its side as soon as the handshake is complete, and reads no further.
    private final class EndsFirst: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let ended: EventLoopPromise<any Channel>

        init(_ ended: EventLoopPromise<any Channel>) { self.ended = ended }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            guard event is TLSUserEvent else { return context.fireUserInboundEventTriggered(event) }
            try? context.channel.syncOptions?.setOption(.autoRead, value: false)
            context.close(mode: .output, promise: nil)
            ended.succeed(context.channel)
        }
    }

    /// Above the exchange: notes that it has seen the end of the input.
    private final class Probe: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let sawEnd: EventLoopPromise<Void>

        init(_ sawEnd: EventLoopPromise<Void>) { self.sawEnd = sawEnd }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event as? ChannelEvent == .inputClosed { sawEnd.succeed() }
        }
    }

    @Test(
        "over TLS, a receiver that ends its side before our end arrives has applied all, unless it has left bytes unread",
        arguments: [true, false])
    func receiverEndsFirst(readsAll: Bool) async throws {
        let ca = try ThrowawayCA()
        let certificate = try ca.serverCertificate()
        let served = try TLSContext(
            server: TLSServerSettings(certificateChain: Array(certificate.chainPEM.utf8), privateKey: Array(certificate.privateKeyPEM.utf8))
        )
        let trusting = try TLSContext(client: TLSClientSettings(trustRoots: .certificates(Array(ca.certificatePEM.utf8))))
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let (ended, sawEnd) = (eventLoop.makePromise(of: (any Channel).self), eventLoop.makePromise(of: Void.self))
        let outcome = eventLoop.makePromise(of: Outcome.self)
        // The kernel takes only a part of the message while the server does not read, so the client's end does not arrive.
        let server = try await ServerBootstrap(group: eventLoop)
            .serverChannelOption(.socketOption(.so_rcvbuf), value: 4096)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 2048))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([TLSHandler(server: served), EndsFirst(ended)])
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let encoder = try PushEncoder(
            app: try AppName.named("a"), metrics: ByteBuffer(string: String(repeating: "a 1\n", count: 12_000)), format: .json)
        _ = try await ClientBootstrap(group: eventLoop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let exchange = PushExchangeHandler(encoder, awaitsHandshake: true)
                    exchange.begin { outcome.succeed($0) }
                    let tls = TLSHandler(client: trusting, hostname: "localhost")
                    try channel.pipeline.syncOperations.addHandlers([tls, exchange, Probe(sawEnd)])
                }
            }
            .connect(to: try #require(server.localAddress)).get()
        let receiver = try await ended.futureResult.get()
        try await sawEnd.futureResult.get()
        if readsAll { try await receiver.setOption(.autoRead, value: true).get() } else { receiver.abort() }
        switch try await outcome.futureResult.get() {
        case .success: #expect(readsAll)
        case .failure(.other(let reason)):
            #expect(!readsAll && reason.contains("whether the metrics were applied is not known"), "\(reason)")
        case .failure(let failure): Issue.record("\(failure)")
        }
        try await server.close()
    }
}
