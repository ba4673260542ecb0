import Glibc
import Logging
import NIOCore
import Proxy
import Synchronization

/// Counts open connections and limits them: one object for each receiver, one for all scrape listeners together.
final class ConnectionLimit: Sendable {
    private struct State {
        var open = 0
        var limit: Int
        /// Wake the listeners that wait for room: one, or two while one replaces the other.
        var wakes: [@Sendable () -> Void] = []

        /// The listeners to wake, once there is room again.
        mutating func takeWakes() -> [@Sendable () -> Void] {
            guard open < limit else { return [] }
            defer { wakes = [] }
            return wakes
        }
    }

    /// Guards the count, the limit and the waiting listeners.
    private let state: Mutex<State>

    /// - Parameter limit: at least one.
    init(_ limit: Int) {
        state = Mutex(State(limit: limit))
    }

    /// Connections open now.
    var open: Int { state.withLock { $0.open } }

    /// The limit in force.
    var limit: Int { state.withLock { $0.limit } }

    /// Whether there is no room for one more connection now.
    var isReached: Bool { state.withLock { $0.open >= $0.limit } }

    /// Applies from now on; connections beyond a lowered limit stay open.
    func set(_ limit: Int) {
        let wakes = state.withLock { state in
            state.limit = limit
            return state.takeWakes()
        }
        for wake in wakes { wake() }
    }

    /// Whether one more connection may be opened.
    /// - Parameter wake: called once as soon as there is room, when there is none now.
    func hasRoom(orWake wake: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            if state.open < state.limit { return true }
            state.wakes.append(wake)
            return false
        }
    }

    /// Counts one more, also beyond the limit.
    func take() { state.withLock { $0.open += 1 } }

    /// Counts one more if the limit allows it.
    func takeIfAllowed() -> Bool {
        state.withLock { state in
            guard state.open < state.limit else { return false }
            state.open += 1
            return true
        }
    }

    /// One connection has ended.
    func release() {
        let wakes = state.withLock { state in
            state.open -= 1
            return state.takeWakes()
        }
        for wake in wakes { wake() }
    }
}

/// Fired into a listening channel's pipeline: accept from now on.
struct StartAcceptingEvent: Sendable {}

/// Fired into a listening channel's pipeline: accept nothing until `StartAcceptingEvent`.
struct PauseAcceptingEvent: Sendable {}

/// What a listener does at its limit of open connections.
enum ConnectionLimitPolicy: Sendable {
    /// Accept no more until one ends: new connections wait in the kernel's queue.
    case wait
    /// Accept and close at once.
    case refuse
}

/// Issues every `accept` of a listening channel: none before the start, none beyond the limit, and none for a while after one has failed.
///
/// NIO keeps a listening socket readable after `accept` has failed: a `read` is still pending, so it asks no handler before it fails again
/// at once. Only switching `autoRead` off takes the socket out of the selector. So this handler, which knows whether more may be accepted,
/// is also the one that pauses.
final class ConnectionLimitHandler: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never

    /// Connections that are accepted before the event loop turns to others. Sixteen took up to 2 ms while others pushed at full speed, and
    /// each push took longer.
    private static let acceptedAtOnce: UInt = 1
    /// The pause after a failed `accept`, such as one without a free descriptor.
    static let pause = TimeAmount.milliseconds(200)

    private enum State {
        /// Before the start, or while others let the listener pause.
        case notStarted
        case accepting
        /// Out of descriptors or memory.
        case paused(Scheduled<Void>)
    }

    private let limit: ConnectionLimit
    private let policy: ConnectionLimitPolicy
    private let metrics: ListenerMetrics
    private let connections: OpenConnections
    private let logger: Logger
    private let refusals = LogLimiter(burst: 1)
    private let failures = LogLimiter(burst: 1, each: .minutes(1))
    private var state = State.notStarted
    /// A `read` that was asked for and not passed on.
    private var isReadHeld = false
    /// Since a pause, until something is accepted again.
    private var isOutOfSelector = false

    /// - Parameter connections: gets every connection at once, so that one that is accepted just before the listener closes is drained too.
    init(limit: ConnectionLimit, policy: ConnectionLimitPolicy, metrics: ListenerMetrics, connections: OpenConnections, logger: Logger) {
        self.limit = limit
        self.policy = policy
        self.metrics = metrics
        self.connections = connections
        self.logger = logger
    }

    func handlerAdded(context: ChannelHandlerContext) {
        try? context.channel.syncOptions?.setOption(.maxMessagesPerRead, value: Self.acceptedAtOnce)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is StartAcceptingEvent:
            if case .notStarted = state { state = .accepting }
            resume(context)
        case is PauseAcceptingEvent:
            if case .paused(let end) = state { end.cancel() }
            state = .notStarted
            leaveSelector(context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func read(context: ChannelHandlerContext) {
        guard case .accepting = state, mayAccept(context) else {
            isReadHeld = true
            return
        }
        if isOutOfSelector {
            isOutOfSelector = false
            // Reads at once.
            try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        } else {
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
                    var metadata: Logger.Metadata = [LogKey.limit: "\(limit.limit)"]
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

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? IOError else { return context.fireErrorCaught(error) }
        // The peer has closed the connection before it was accepted (accept(2)). The next one may be fine.
        guard error.errnoCode != ECONNABORTED else { return }
        if failures.admit() != nil {
            logger.error("cannot accept connections", metadata: [LogKey.error: "\(SystemError.text(error.errnoCode))"])
        }
        pause(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .paused(let end) = state { end.cancel() }
        context.fireChannelInactive()
    }

    // MARK: - When to accept

    /// Whether there is room for a connection. If not, `resume` will be called once there is.
    private func mayAccept(_ context: ChannelHandlerContext) -> Bool {
        guard policy == .wait else { return true }
        let this = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        return limit.hasRoom {
            eventLoop.execute { this.value.0.resume(this.value.1) }
        }
    }

    private func resume(_ context: ChannelHandlerContext) {
        guard isReadHeld, context.channel.isActive else { return }
        isReadHeld = false
        read(context: context)
    }

    private func pause(_ context: ChannelHandlerContext) {
        guard case .accepting = state else { return }
        leaveSelector(context)
        let this = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        state = .paused(context.eventLoop.scheduleTask(in: Self.pause) { this.value.0.endPause(this.value.1) })
    }

    /// Accepts nothing before the next `read`, which enters the selector again.
    private func leaveSelector(_ context: ChannelHandlerContext) {
        isOutOfSelector = true
        isReadHeld = true
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
    }

    private func endPause(_ context: ChannelHandlerContext) {
        guard case .paused = state, context.channel.isActive else { return }
        state = .accepting
        resume(context)
    }
}
