import Glibc
import NIOCore
import Proxy

/// The first handler of a receiver's listening channel. It reads from each connection before that has a pipeline. If the sender has ended
/// its side after complete messages, the connection is closed here. That saves a pipeline and a registration with the selector, which cost
/// more than decoding and storing. Any other connection continues in a `PushHandler`, where this read has stopped.
final class FirstReadHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel

    /// The most bytes of each of the two reads from a connection.
    static let readSize = 64 << 10

    private let destination: PushStream.Destination
    private let decoding: PushDecoding
    private let connections: OpenConnections
    private let settings: () -> ReceiverSettings
    private let makePipeline: MakePipeline
    /// Used for one connection after another.
    private var buffer = ByteBufferAllocator().buffer(capacity: readSize)

    /// Makes the pipeline of a connection after its first read; `stop` is why that ended.
    typealias MakePipeline =
        @Sendable (
            _ channel: any Channel, _ settings: ReceiverSettings, _ stream: PushStream, _ stop: PushStream.Stop
        ) throws -> Void

    /// - Parameter settings: those in force now.
    init(
        _ destination: PushStream.Destination, decoding: PushDecoding, connections: OpenConnections,
        settings: @escaping () -> ReceiverSettings, makePipeline: @escaping MakePipeline
    ) {
        self.destination = destination
        self.decoding = decoding
        self.connections = connections
        self.settings = settings
        self.makePipeline = makePipeline
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let connection = unwrapInboundIn(data)
        let settings = connections.begin(connection, with: settings)
        // Nothing else uses the socket before the channel is passed on.
        guard case .off = settings.transport, let socket = SocketOfChannel(connection), read(socket) > 0 else {
            return context.fireChannelRead(data)
        }
        var stream = PushStream(destination, settings)
        stream.setPeer(of: socket)
        var stop = apply(to: &stream, connection, context)
        if case .needsMore = stop, !stream.isWithinMessage {
            let count = read(socket)
            guard count != 0 else {
                // The end of the connection tells the sender that all was applied.
                connections.remove(connection)
                connection.close(mode: .all, promise: nil)
                return
            }
            if count > 0 { stop = apply(to: &stream, connection, context) }
        }
        connections.keep({ [makePipeline, stream, stop] in try makePipeline($0, settings, stream, stop) }, for: connection)
        context.fireChannelRead(data)
    }

    /// Applies the messages that were read.
    private func apply(to stream: inout PushStream, _ connection: any Channel, _ context: ChannelHandlerContext) -> PushStream.Stop {
        stream.feed(buffer)
        return decoding.turns[context.eventLoop].take { stream.applyComplete(in: $0, of: connection).stop } ?? .turnIsOver
    }

    /// Reads once, without waiting, into `buffer`.
    /// - Returns: the number of bytes; 0 if the sender has ended its side, -1 if nothing has arrived yet or the connection has failed.
    private func read(_ socket: SocketOfChannel) -> Int {
        buffer.clear()
        var result = -1
        _ = socket.withDescriptor { descriptor in
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) { room in
                result = recv(descriptor, room.baseAddress, room.count, CInt(MSG_DONTWAIT))
                return max(result, 0)
            }
        }
        return result
    }
}
