import NIOCore

/// Tells TLS from plain text by the first bytes of a connection, builds the pipeline that fits, hands it the bytes, and leaves.
final class FirstByteHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let tlsBegins: [UInt8]
    private let timeout: TimeAmount
    private var build: ((_ isTLS: Bool) throws -> Void)?
    private var seen = ByteBuffer()
    /// Forwarded to the handlers that are added.
    private var drain: ConnectionDrainEvent?
    private var timer: DeadlineTimer?

    /// - Parameters:
    ///   - tlsBegins: the bytes that a TLS connection begins with.
    ///   - timeout: a connection that has not sent as many by then is closed.
    ///   - build: adds the handlers that fit behind this one; throwing closes the connection.
    init(tlsBegins: [UInt8], timeout: TimeAmount, build: @escaping (_ isTLS: Bool) throws -> Void) {
        self.tlsBegins = tlsBegins
        self.timeout = timeout
        self.build = build
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = DeadlineTimer(eventLoop: context.eventLoop) { channel.close(mode: .all, promise: nil) }
        if channel.isActive { timer?.set(timeout) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.stop()
        timer = nil
        build = nil
    }

    /// Held back until the other handlers are there.
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
            // The network's buffer is much larger than these bytes.
            seen = ByteBuffer(buffer: seen)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed where seen.readableBytes > 0:
            // Too short for TLS. Whether it is too short for the other protocol is decided there.
            decide(isTLS: false, context, then: event)
        case ChannelEvent.inputClosed:
            context.close(promise: nil)
        case let event as ConnectionDrainEvent:
            drain = event
            timer?.set(event.pause(isNew: true))
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func decide(isTLS: Bool, _ context: ChannelHandlerContext, then event: Any? = nil) {
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
