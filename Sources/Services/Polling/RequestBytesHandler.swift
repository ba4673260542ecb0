import NIOCore
import NIOHTTP1

/// Lies between the response decoder and the network: the decoder above sees that a GET was sent, the network gets the ready-made bytes.
/// Counts what comes back, which the decoder does not tell before a head is whole.
final class RequestBytesHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = HTTPClientRequestPart
    typealias OutboundOut = ByteBuffer

    /// Bytes received since the last request.
    private(set) var received = 0

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .body(.byteBuffer(let bytes)):
            received = 0
            context.write(wrapOutboundOut(bytes), promise: promise)
        case .head, .body, .end:
            promise?.succeed()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += unwrapInboundIn(data).readableBytes
        context.fireChannelRead(data)
    }
}
