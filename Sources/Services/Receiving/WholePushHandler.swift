import Glibc
import NIOCore
import Proxy

/// Stands first in a receiver's listening channel. A push that has come whole by the time its connection is accepted is read, applied, and
/// answered by the end of the connection right here: neither is the connection's pipeline made nor the selector asked, which would cost
/// more than to decode and to store it. Whatever is not that simple goes the ordinary way, and the bytes that were read go with it.
final class WholePushHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel

    /// The largest message taken here, in bytes: an event loop that accepts must not decode for long before it turns to others.
    static let maxSize = 64 << 10

    private let intake: Intake
    private let source: Source
    private let metrics: ListenerMetrics
    private let connections: OpenConnections
    private let settings: () -> ReceiverSettings
    /// For one connection after another.
    private var buffer = ByteBufferAllocator().buffer(capacity: maxSize)

    /// - Parameter settings: those in force now.
    init(
        intake: Intake, metrics: ListenerMetrics, connections: OpenConnections, settings: @escaping () -> ReceiverSettings
    ) {
        self.intake = intake
        self.source = .push(listener: metrics.name)
        self.metrics = metrics
        self.connections = connections
        self.settings = settings
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let connection = unwrapInboundIn(data)
        let settings = settings()
        guard case .off = settings.transport else { return context.fireChannelRead(data) }
        buffer.clear()
        if takePush(from: connection, settings) {
            // The end of the connection tells the sender that all was applied.
            connection.close(mode: .all, promise: nil)
        } else {
            if buffer.readableBytes > 0 { connections.keep(ByteBuffer(bytes: buffer.readableBytesView), of: connection) }
            context.fireChannelRead(data)
        }
    }

    /// - Returns: whether a push was applied and the sender has ended its side. Otherwise `buffer` holds what was read and not applied.
    private func takePush(from connection: any Channel, _ settings: ReceiverSettings) -> Bool {
        guard read(connection) > 0, buffer.writableBytes > 0, let push = onlyPush(settings) else { return false }
        do {
            try intake.apply(push, from: Sender(peer: Sender.Peer(of: connection)), through: source)
        } catch {
            // It is refused once more where there are words for it.
            return false
        }
        metrics.countReceived(settings.format)
        buffer.clear()
        return read(connection) == 0
    }

    /// The push that the bytes are, if they are one and no more.
    private func onlyPush(_ settings: ReceiverSettings) -> Push? {
        var decoder = settings.format.makeDecoder(maxMessageSize: settings.maxMessageSize)
        decoder.feed(buffer)
        do {
            guard let push = try decoder.next(), try decoder.next() == nil, decoder.bufferedBytes == 0 else { return nil }
            return push
        } catch {
            return nil
        }
    }

    /// Reads once, without waiting, to the end of `buffer`.
    /// - Returns: how many bytes; 0 when the sender has ended its side, -1 when nothing has come yet or the connection has failed.
    private func read(_ connection: any Channel) -> Int {
        // Nobody else uses the socket before the channel is passed on.
        guard let core = connection as? any NIOTransportAccessibleChannelCore<NIOBSDSocket.Handle> else { return -1 }
        var result = -1
        _ = try? core.withUnsafeTransport { descriptor in
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) { room in
                result = recv(descriptor, room.baseAddress, room.count, CInt(MSG_DONTWAIT))
                return max(result, 0)
            }
        }
        return result
    }
}
