import NIOCore
import NIOEmbedded
import Synchronization
import TLS
import TestSupport
import Testing

@testable import Services

@Suite("FirstByteHandler")
struct FirstByteHandlerTests {
    /// What the handler built, and what reached it.
    private final class Built: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var isTLS: Bool?
        var received = ByteBuffer()
        var isActive = false
        var inputClosed = false
        /// The drain, and how many bytes had come before it.
        var drain: (event: ConnectionDrainEvent, after: Int)?

        func channelActive(context: ChannelHandlerContext) { isActive = true }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = unwrapInboundIn(data)
            received.writeBuffer(&bytes)
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event as? ChannelEvent == .inputClosed { inputClosed = true }
            if let event = event as? ConnectionDrainEvent { drain = (event, received.readableBytes) }
        }
    }

    private let built = Built()

    private func channel(tlsBegins: [UInt8]) throws -> EmbeddedChannel {
        let channel = EmbeddedChannel()
        let handler = FirstByteHandler(tlsBegins: tlsBegins, timeout: .seconds(10)) { [built] isTLS in
            built.isTLS = isTLS
            try channel.pipeline.syncOperations.addHandler(built)
        }
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return channel
    }

    @Test(
        "TLS is told by its first bytes, and no byte is lost",
        arguments: [
            ([0x16], [[0x16, 3, 1]], true), ([0x16], [[0x47, 0x45]], false), ([0x16, 3], [[0x16], [3, 1]], true),
            ([0x16, 3], [[0x16], [0, 0]], false), ([0x16, 3], [[0], [0x16]], false), ([0x16, 3], [[0x16, 3]], true),
        ] as [([UInt8], [[UInt8]], Bool)])
    func told(tlsBegins: [UInt8], pieces: [[UInt8]], isTLS: Bool) throws {
        let channel = try channel(tlsBegins: tlsBegins)
        for piece in pieces { try channel.writeInbound(ByteBuffer(bytes: piece)) }
        #expect(built.isTLS == isTLS)
        #expect(built.isActive)
        #expect(Array(built.received.readableBytesView) == pieces.flatMap(\.self))
        // It has left the pipeline.
        #expect(throws: (any Error).self) { try channel.pipeline.syncOperations.handler(type: FirstByteHandler.self) }
        _ = try channel.finish()
    }

    @Test("nothing is decided while it could be either")
    func undecided() throws {
        let channel = try channel(tlsBegins: [0x16, 3])
        try channel.writeInbound(ByteBuffer(bytes: [0x16]))
        #expect(built.isTLS == nil)
        #expect(channel.isActive)
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(built.isTLS == false)
        #expect(Array(built.received.readableBytesView) == [0x16])
        #expect(built.inputClosed)
        _ = try channel.finish()
    }

    @Test("a drain that comes before the first bytes is passed on before them", arguments: [UInt8(0x16), 0x47])
    func drain(first: UInt8) throws {
        let channel = try channel(tlsBegins: [0x16])
        for event in [ConnectionDrainEvent.listenerCloses, .othersWait, .accessChanged, .socketGoesOn] {
            channel.pipeline.fireUserInboundEventTriggered(event)
        }
        #expect(built.drain == nil)
        try channel.writeInbound(ByteBuffer(bytes: [first]))
        // A change of access stays in force, whatever follows.
        #expect(built.drain?.event == .accessChanged && built.drain?.after == 0)
        _ = try channel.finish()
    }

    @Test("a connection that says nothing, or ends without a word, is closed")
    func silent() throws {
        let silent = try channel(tlsBegins: [0x16])
        silent.embeddedEventLoop.advanceTime(by: .seconds(10))
        #expect(!silent.isActive)
        let ended = try channel(tlsBegins: [0x16])
        ended.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(!ended.isActive)
        #expect(built.isTLS == nil)
    }

    private final class Outcomes: Sendable {
        private let noted = Mutex<[TLSHandshakeFailure?]>([])
        var all: [TLSHandshakeFailure?] { noted.withLock { $0 } }
        func note(_ outcome: TLSHandshakeFailure?) { noted.withLock { $0.append(outcome) } }
    }

    @Test("a receiver that requires TLS counts the first bytes as part of the handshake: for its time, and for how it ends")
    func handshakeWithFirstBytes() throws {
        let certificate = try ThrowawayCA().serverCertificate()
        let context = try TLSContext(
            server: TLSServerSettings(
                certificateChain: Array(certificate.chainPEM.utf8), privateKey: Array(certificate.privateKeyPEM.utf8)))
        func outcomes(of transport: Transport, _ body: (EmbeddedChannel) throws -> Void) throws -> [TLSHandshakeFailure?] {
            let outcomes = Outcomes()
            let pipeline = TransportPipeline(
                transport: transport, inside: .push, handshakeTimeout: .seconds(10), firstByteTimeout: .seconds(10),
                onHandshake: { failure, _ in outcomes.note(failure) }, closeTimeout: .seconds(10))
            let channel = EmbeddedChannel()
            try pipeline.install(on: channel) { _, _ in }
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
            try body(channel)
            #expect(!channel.isActive)
            return outcomes.all
        }
        #expect(try outcomes(of: .required(context)) { $0.embeddedEventLoop.advanceTime(by: .seconds(10)) } == [.timeout])
        #expect(try outcomes(of: .required(context)) { $0.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed) } == [.closed])
        #expect(try outcomes(of: .required(context)) { try $0.close().wait() } == [.closed])
        let slow = try outcomes(of: .required(context)) { channel in
            try channel.writeInbound(ByteBuffer(bytes: [0x16]))
            channel.embeddedEventLoop.advanceTime(by: .seconds(9))
            try channel.writeInbound(ByteBuffer(bytes: [0x03]))
            channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        }
        #expect(slow == [.timeout])
        #expect(try outcomes(of: .optional(context)) { $0.embeddedEventLoop.advanceTime(by: .seconds(10)) } == [])
    }
}
