import Logging
import NIOCore
import Proxy

/// Fired into a listening channel's pipeline: accept from now on.
struct StartAcceptingEvent: Sendable {}

/// What a listener does at its limit of open connections.
enum ConnectionLimitPolicy: Sendable {
    /// Accept no more until one ends: who connects waits in the kernel's queue.
    case wait
    /// Accept and close at once.
    case refuse
}

/// Stands in a listening channel's pipeline: accepts nothing before the start, and never more than the limit.
final class ConnectionLimitHandler: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never

    /// Connections accepted before the event loop turns to others.
    private static let batch = 16

    private let limit: ConnectionLimit
    private let policy: ConnectionLimitPolicy
    private let metrics: ListenerMetrics
    private let connections: OpenConnections
    private let logger: Logger
    private let refusals = LogLimiter(burst: 1)
    private var isStarted = false
    /// A `read` that was asked for and not passed on.
    private var isReadHeld = false
    /// `maxMessagesPerRead` as it stands.
    private var currentBatch = 0

    /// - Parameter connections: takes every connection at once: one that was accepted just before the listener closes is drained too.
    init(limit: ConnectionLimit, policy: ConnectionLimitPolicy, metrics: ListenerMetrics, connections: OpenConnections, logger: Logger) {
        self.limit = limit
        self.policy = policy
        self.metrics = metrics
        self.connections = connections
        self.logger = logger
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is StartAcceptingEvent else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        isStarted = true
        resume(context)
    }

    func read(context: ChannelHandlerContext) {
        guard isStarted else {
            isReadHeld = true
            return
        }
        switch policy {
        case .refuse:
            setBatch(Self.batch, context)
            context.read()
        case .wait:
            let this = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            let eventLoop = context.eventLoop
            let room = limit.room {
                eventLoop.execute { this.value.0.resume(this.value.1) }
            }
            guard room > 0 else {
                isReadHeld = true
                return
            }
            // One read accepts a whole batch before anyone is asked again.
            setBatch(min(room, Self.batch), context)
            context.read()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let connection = unwrapInboundIn(data)
        switch policy {
        case .wait: limit.take()
        case .refuse:
            guard limit.takeIfAllowed() else {
                metrics.rejectedConnections.increment()
                if let suppressed = refusals.admit() {
                    var metadata: Logger.Metadata = [LogKey.limit: "\(limit.open)"]
                    if let peer = connection.remoteAddress?.hostAndPort { metadata[LogKey.peer] = "\(peer)" }
                    if suppressed > 0 { metadata[LogKey.suppressed] = "\(suppressed)" }
                    logger.warning("connection closed at once: the limit of open connections is reached", metadata: metadata)
                }
                connection.close(mode: .all, promise: nil)
                return
            }
        }
        connections.insert(connection)
        context.fireChannelRead(data)
    }

    private func resume(_ context: ChannelHandlerContext) {
        guard isReadHeld, context.channel.isActive else { return }
        isReadHeld = false
        read(context: context)
    }

    private func setBatch(_ batch: Int, _ context: ChannelHandlerContext) {
        guard batch != currentBatch else { return }
        currentBatch = batch
        try? context.channel.syncOptions?.setOption(.maxMessagesPerRead, value: UInt(batch))
    }
}
