import NIOCore
import Proxy
import TLS

/// Whether the connections of a listener use TLS.
enum Transport: Sendable {
    /// Plain text only.
    case off
    /// TLS only.
    case required(TLSContext)
    /// TLS and plain text on one port, distinguished by the first bytes.
    case optional(TLSContext)

    /// `nil` without TLS.
    var context: TLSContext? {
        switch self {
        case .off: nil
        case .required(let context), .optional(let context): context
        }
    }
}

extension ListenerMetrics {
    /// Shows the dates of the certificates that are in force from now on.
    func show(_ transport: Transport) {
        setCertificate(notAfter: transport.context?.certificate?.notAfter, revocationsEnd: transport.context?.revocations?.end)
    }
}

/// Adds TLS, or nothing, or a check of the first bytes, in front of any inner pipeline. Neither side knows the other.
struct TransportPipeline: Sendable {
    /// The protocol inside, as far as the transport must know it.
    enum Inside: Sendable {
        case http
        case push

        /// The first bytes of a TLS connection, which no plain one has: a handshake record (RFC 8446 §5.1).
        /// A Cap'n Proto message of 23 segments begins with 0x16 too, but its second byte is zero. No HTTP method begins so.
        var tlsBegins: [UInt8] {
            switch self {
            case .http: [0x16]
            case .push: [0x16, 0x03]
            }
        }
    }

    var transport: Transport
    var inside: Inside
    /// The beginning of the answer to plain HTTP where TLS is required.
    var plainHTTPPrefix = ""
    /// For the TLS handshake; where TLS is required, from the beginning of the connection.
    var handshakeTimeout: TimeAmount
    /// For the first bytes, where they decide between TLS and plain text.
    var firstByteTimeout: TimeAmount
    /// Called at the end of each handshake.
    var onHandshake: @Sendable (_ failure: TLSHandshakeFailure?, _ channel: any Channel) -> Void
    /// The longest time in which a TLS peer may take no byte while the connection is being closed.
    var closeTimeout: TimeAmount

    /// - Parameter inner: adds the inner handlers at the end of the pipeline; called on the event loop, at once or when the first bytes
    ///   have come. Where TLS is required, `isTLS` can still be false inside a receiver. The receiver must refuse then.
    func install(on channel: any Channel, inner: @escaping (_ channel: any Channel, _ isTLS: Bool) throws -> Void) throws {
        switch transport {
        case .off:
            try inner(channel, false)
        case .required(let context) where inside == .push:
            // A sender without TLS would take a silent end for success, so the inner handler answers it.
            try addFirstByteHandler(context, isRequired: true, to: channel, inner: inner)
        case .required(let context):
            try addTLS(context, timeout: handshakeTimeout, answersPlainHTTP: true, to: channel)
            try inner(channel, true)
        case .optional(let context):
            try addFirstByteHandler(context, isRequired: false, to: channel, inner: inner)
        }
    }

    private func addFirstByteHandler(
        _ context: TLSContext, isRequired: Bool, to channel: any Channel,
        inner: @escaping (_ channel: any Channel, _ isTLS: Bool) throws -> Void
    ) throws {
        let begin = channel.eventLoop.now
        let timeout = isRequired ? handshakeTimeout : firstByteTimeout
        // Where TLS is required, the first bytes belong to the handshake.
        let ended: ((TLSHandshakeFailure) -> Void)? = isRequired ? { onHandshake($0, channel) } : nil
        let handler = FirstByteHandler(tlsBegins: inside.tlsBegins, timeout: timeout, ended: ended) { isTLS in
            let spent = isRequired ? channel.eventLoop.now - begin : .zero
            if isTLS { try addTLS(context, timeout: handshakeTimeout - spent, answersPlainHTTP: false, to: channel) }
            try inner(channel, isTLS)
        }
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    private func addTLS(_ context: TLSContext, timeout: TimeAmount, answersPlainHTTP: Bool, to channel: any Channel) throws {
        let handler = TLSHandler(
            server: context, handshakeTimeout: timeout, closeTimeout: closeTimeout,
            plainHTTPResponse: answersPlainHTTP ? plainHTTPAnswer : nil,
            onHandshake: onHandshake)
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    /// For a client that speaks HTTP where HTTPS is required.
    private var plainHTTPAnswer: ByteBuffer { plainHTTPPrefix.isEmpty ? Self.plainHTTPAnswer : Self.plainHTTPAnswer(plainHTTPPrefix) }

    private static let plainHTTPAnswer = plainHTTPAnswer("")

    private static func plainHTTPAnswer(_ prefix: String) -> ByteBuffer {
        ByteBuffer(string: PlainHTTPAnswer.badRequest("\(prefix)this port speaks HTTPS; use https://\n"))
    }
}

/// Answers to a client that speaks plain HTTP on a port for another protocol.
enum PlainHTTPAnswer {
    /// A whole response with the status 400. The connection ends after it.
    /// - Parameter text: its body.
    static func badRequest(_ text: String) -> String {
        """
        HTTP/1.1 400 Bad Request\r
        Content-Type: text/plain; charset=utf-8\r
        Content-Length: \(text.utf8.count)\r
        Connection: close\r
        \r
        \(text)
        """
    }
}

/// Distinguishes TLS from plain text by the first bytes of a connection, makes the pipeline for it, passes on the bytes, and leaves.
final class FirstByteHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let tlsBegins: [UInt8]
    private let timeout: TimeAmount
    /// `nil` once it has been called, and once the connection is decided or ended from here.
    private var ended: ((TLSHandshakeFailure) -> Void)?
    private var build: ((_ isTLS: Bool) throws -> Void)?
    private var seen = ByteBuffer()
    /// Forwarded to the handlers that are added.
    private var drain: ConnectionDrainEvent?
    private var timer: DeadlineTimer?

    /// - Parameters:
    ///   - tlsBegins: the bytes that a TLS connection begins with.
    ///   - timeout: a connection that has sent fewer bytes by then is closed.
    ///   - ended: called at most once, with the reason, if the connection ends before it is decided.
    ///   - build: adds the handlers after this one. If it throws, the connection is closed.
    init(
        tlsBegins: [UInt8], timeout: TimeAmount, ended: ((TLSHandshakeFailure) -> Void)? = nil,
        build: @escaping (_ isTLS: Bool) throws -> Void
    ) {
        self.tlsBegins = tlsBegins
        self.timeout = timeout
        self.ended = ended
        self.build = build
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = DeadlineTimer(eventLoop: context.eventLoop) { [self] in
            end(.timeout)
            channel.close(mode: .all, promise: nil)
        }
        if channel.isActive { timer?.set(timeout) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.stop()
        timer = nil
        build = nil
        ended = nil
    }

    /// Passed on by `decide`, when the other handlers are there.
    func channelActive(context: ChannelHandlerContext) {
        timer?.set(timeout)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if seen.readableBytes == 0 { seen = bytes } else { seen.writeBuffer(&bytes) }
        let beginning = seen.readableBytesView.prefix(tlsBegins.count)
        if beginning.elementsEqual(tlsBegins) {
            decide(isTLS: true, context)
        } else if !tlsBegins.starts(with: beginning) {
            decide(isTLS: false, context)
        } else {
            // A copy, because the read buffer is much larger than these bytes.
            seen = ByteBuffer(buffer: seen)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed where seen.readableBytes > 0:
            // Too short for TLS. The inner handler decides whether it is complete.
            decide(isTLS: false, context, then: event)
        case ChannelEvent.inputClosed:
            end(.closed)
            context.close(promise: nil)
        case let event as ConnectionDrainEvent:
            ended = nil
            drain = event.following(drain)
            timer?.set(event.pause(isNew: true))
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(.closed)
        context.fireChannelInactive()
    }

    private func end(_ reason: TLSHandshakeFailure) {
        ended?(reason)
        ended = nil
    }

    private func decide(isTLS: Bool, _ context: ChannelHandlerContext, then event: Any? = nil) {
        ended = nil
        do {
            try build?(isTLS)
        } catch {
            context.close(promise: nil)
            return
        }
        context.fireChannelActive()
        if let drain { context.fireUserInboundEventTriggered(drain) }
        context.fireChannelRead(wrapInboundOut(seen))
        if let event {
            context.fireChannelReadComplete()
            context.fireUserInboundEventTriggered(event)
        }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
}
