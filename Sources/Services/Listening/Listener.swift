import Glibc
import Logging
import NIOCore
import NIOPosix
import Proxy
import Synchronization

/// Owns one listening socket and the connections that came through it. `Setup` makes their pipelines and so decides what happens on them.
///
/// It opens in steps, so that a reload can take each step for all listeners before it takes the next: bound when made, then `listen`,
/// `publish`, `start`. Dropping one that is not drained leaves its socket open.
final class Listener: Sendable {
    /// As configured (with the port that the system picked, when port 0 was): the name in logs, in `/apps` and in metrics.
    let name: String
    /// The TCP port bound; `nil` for a Unix socket.
    let port: UInt16?

    private enum Socket {
        /// Connections are refused.
        case bound(descriptor: CInt)
        /// The channel owns the descriptor. It is kept for the socket options that a reload sets.
        case listening(any Channel, descriptor: CInt, isStarted: Bool)
        case closed
    }

    /// The file of a Unix socket.
    private enum File {
        case none
        case pending(UnixSocketFile.Pending)
        case published(UnixSocketFile)
    }

    private struct State {
        var socket: Socket
        var file: File
        /// Sockets that no new client finds, and that are closed when the connections that wait in them are accepted.
        var emptying: [Emptying] = []
    }

    private typealias Emptying = (channel: any Channel, descriptor: CInt)

    /// Guards the steps. Held for system calls that do not wait.
    private let state: Mutex<State>
    private let setup: Setup
    /// The configuration of the Unix socket; `nil` for TCP and for an inherited socket.
    private let unix: UnixSocketConfig?
    /// Whether the service manager has passed the socket. It stays open without this listener.
    private let isInherited: Bool
    private let logger: Logger
    private let connections = OpenConnections()
    /// The listener's counters. They are removed when the listener is dropped.
    let metrics: ListenerMetrics

    private init(
        name: String, port: UInt16?, socket: Socket, file: File, unix: UnixSocketConfig? = nil, isInherited: Bool = false, setup: Setup
    ) {
        self.name = name
        self.isInherited = isInherited
        self.port = port
        self.unix = unix
        self.setup = setup
        logger = setup.logger(for: name)
        metrics = setup.metrics.addListener(name, setup.kind)
        state = Mutex(State(socket: socket, file: file))
    }

    deinit { setup.metrics.remove(metrics) }

    /// Connections open now.
    var openConnections: Int { connections.count }

    /// The Unix socket's file, once it is where clients look for it.
    var socketFile: UnixSocketFile? {
        state.withLock { if case .published(let file) = $0.file { file } else { nil } }
    }

    /// Accepts connections from now on, and those that have waited since `listen`.
    func start() {
        let channel: (any Channel)? = state.withLock { state in
            guard case .listening(let channel, let descriptor, false) = state.socket else { return nil }
            state.socket = .listening(channel, descriptor: descriptor, isStarted: true)
            return channel
        }
        channel?.pipeline.fireUserInboundEventTriggered(StartAcceptingEvent())
    }

    /// Stops listening, lets exchanges in flight finish, and aborts the remaining connections at the deadline. May be called again with
    /// another deadline.
    /// - Returns: how many connections were aborted.
    @discardableResult
    func drain(within time: Duration) async -> Int {
        let end = NIODeadline.now() + TimeAmount(time)
        await stopListening(until: end)
        let eventLoop = setup.group.any()
        let emptied = connections.drainForGood(drainEvent, on: eventLoop)
        let deadline = eventLoop.scheduleTask(deadline: end) { [connections] in connections.closeAll() }
        try? await emptied.get()
        deadline.cancel()
        // Throws if the deadline was cancelled. Then no connection was aborted.
        return (try? await deadline.futureResult.get()) ?? 0
    }

    /// Replaces the settings of connections accepted from now on. Older connections finish their exchange and end.
    /// - Parameter time: the longest that this exchange may last.
    func changeAccess(within time: Duration = longestLastExchange, _ replaceSettings: () -> Void) {
        let generation = connections.changeAccess(replaceSettings)
        setup.group.any().scheduleTask(in: TimeAmount(time)) { [connections] in _ = connections.closeAll(before: generation) }
    }

    /// Whether another listener of this process may bind an overlapping address now.
    func setSharesPort(_ shares: Bool) {
        state.withLock { state in
            switch state.socket {
            case .bound(let descriptor): BoundTCPSocket.setSharesPort(shares, of: descriptor)
            case .listening(let channel, let descriptor, _):
                // Only an open channel still owns the descriptor. Only `stopListening` closes it, and it takes the state before.
                if channel.isActive { BoundTCPSocket.setSharesPort(shares, of: descriptor) }
            case .closed: break
            }
        }
    }

    /// Removes the file of a Unix socket, so that no further client finds it. Connections that wait in the socket are still accepted.
    func removeFile() {
        let file = state.withLock { state in
            defer { state.file = .none }
            return state.file
        }
        switch file {
        case .pending(let pending): pending.abandon()
        case .published(let file): file.remove()
        case .none: break
        }
    }

    private var drainEvent: ConnectionDrainEvent { isInherited ? .socketGoesOn : .listenerCloses }

    /// Stops listening, and accepts the connections that wait. Afterwards others may bind the address. May be called again with another
    /// deadline.
    /// - Parameter end: connections that still wait then are reset.
    func stopListening(until end: NIODeadline) async {
        removeFile()
        // At the limit of connections, those that wait in the socket are accepted as soon as open ones have ended.
        _ = connections.drainForGood(drainEvent, on: setup.group.any())
        let (socket, emptying) = state.withLock { state in
            defer { state.socket = .closed }
            if case .listening(let channel, let descriptor, true) = state.socket, !isInherited {
                state.emptying.append((channel, descriptor))
            }
            return (state.socket, state.emptying)
        }
        switch socket {
        case .bound(let descriptor): close(descriptor)
        case .listening(let channel, _, false): try? await channel.close()
        // Connections that wait in it are for the next listener, or the next program.
        case .listening(let channel, _, true) where isInherited: await closeChannel(channel)
        case .listening, .closed: break
        }
        for socket in emptying { await empty(socket, until: end) }
    }

    /// Accepts the connections that wait in a socket, because the kernel resets them when it is closed. Then closes the listening channel.
    private func empty(_ socket: Emptying, until end: NIODeadline) async {
        let (channel, descriptor) = socket
        // Only an open channel still owns the descriptor.
        let ended = try? await channel.eventLoop.submit { channel.isActive && BoundTCPSocket.endArrivals(at: descriptor) }.get()
        // To a Unix socket without its file no new connection comes.
        let isFinite = port == nil || ended == true
        let deadline = isFinite ? end : min(end, NIODeadline.now() + TimeAmount(Self.longestAccepting))
        var pause = Duration.milliseconds(1)
        while channel.isActive, .now() < deadline {
            let accepted = try? await channel.eventLoop.submit { [connections] in connections.accepted }.get()
            await makePipelines()
            let waits = try? await channel.eventLoop.submit { [connections] in
                guard channel.isActive else { return false }
                let isWaiting = BoundTCPSocket.hasWaitingConnection(descriptor)
                if !isWaiting, connections.accepted == accepted { channel.close(promise: nil) }
                return isWaiting
            }.get()
            if waits == true, setup.policy == .wait, setup.limit.isReached { connections.makeRoom() }
            // Without a deadline it may take as long as open connections last.
            pause = waits == true ? min(pause * 2, .milliseconds(end == .distantFuture ? 1000 : 10)) : .milliseconds(1)
            if channel.isActive { try? await setup.group.sleep(for: pause) }
        }
        await closeChannel(channel)
        state.withLock { $0.emptying.removeAll { $0.channel === channel } }
    }

    /// Closes a listening channel, and none of the connections that it has accepted.
    private func closeChannel(_ channel: any Channel) async {
        if channel.isActive {
            try? await channel.eventLoop.submit { channel.pipeline.fireUserInboundEventTriggered(PauseAcceptingEvent()) }.get()
            await makePipelines()
            channel.eventLoop.execute { channel.close(promise: nil) }
        }
        try? await channel.closeFuture.get()
    }

    /// Returns when the event loop of each connection that was accepted before has made its pipeline. The event loop of the listening
    /// channel may still have to pass the connection on.
    ///
    /// SwiftNIO closes an accepted connection if the listening channel has closed before the connection has its pipeline: it is made on the
    /// connection's event loop and passed on the channel's.
    private func makePipelines() async {
        for eventLoop in setup.group.makeIterator() { try? await eventLoop.submit {}.get() }
    }
}

extension Listener {
    /// Given a connection's channel, fills its pipeline; throwing closes it.
    typealias SetUpConnection = @Sendable (any Channel) throws -> Void

    /// The parts of a listener that do not depend on its address.
    struct Setup: Sendable {
        var group: any EventLoopGroup
        var limit: ConnectionLimit
        var policy: ConnectionLimitPolicy
        var kind: ListenerMetrics.Kind
        var metrics: SelfMetrics
        var logger: Logger
        /// Makes the handler that reads from each accepted connection before it has a pipeline, and may end it.
        var firstRead:
            (@Sendable (_ metrics: ListenerMetrics, _ connections: OpenConnections, _ logger: Logger) -> any ChannelInboundHandler)?
        /// Given the listener's metrics and logger, returns a closure that reads the settings in force for each new connection, on its
        /// event loop.
        var connection: @Sendable (_ metrics: ListenerMetrics, _ logger: Logger) -> @Sendable () -> SetUpConnection

        fileprivate func logger(for name: String) -> Logger {
            var logger = logger
            logger[metadataKey: LogKey.listener] = "\(name)"
            return logger
        }
    }

    /// The length of the accept queue: Linux's default for its upper limit, `net.core.somaxconn`.
    private static let backlog: Int32 = 4096
    /// How long a closing listener accepts waiting connections where new ones may come all the time.
    private static let longestAccepting = Duration.seconds(1)
    /// The longest exchange after a change of access. Without this limit a slow peer would keep its old rights.
    static let longestLastExchange = Duration.seconds(60)

    /// Binds a TCP socket; clients cannot connect yet.
    /// - Parameters:
    ///   - v6Only: whether `[::]` leaves IPv4 to a listener beside it.
    ///   - sharesPort: whether a listener of this process that shares too holds an overlapping address now.
    ///   - inherited: is used instead of a new socket.
    static func bind(
        _ address: ListenAddress, v6Only: Bool = false, sharesPort: Bool = false, inherited: InheritedSockets.Socket? = nil, setup: Setup
    ) throws(ListenError) -> Listener {
        if let inherited {
            let descriptor = try inherited.duplicate()
            return Listener(
                name: address.description, port: address.port, socket: .bound(descriptor: descriptor), file: .none, isInherited: true,
                setup: setup)
        }
        let socket = try BoundTCPSocket.bind(address, v6Only: v6Only, sharesPort: sharesPort)
        let name = ListenAddress(host: address.host, port: socket.port).description
        return Listener(name: name, port: socket.port, socket: .bound(descriptor: socket.descriptor), file: .none, setup: setup)
    }

    /// Makes a Unix socket with its owner and mode; clients cannot connect yet.
    /// - Parameters:
    ///   - ours: the socket files of running listeners. The new listener may replace one of them.
    ///   - inherited: is used instead of a new socket, and so is its file.
    static func bind(
        _ config: UnixSocketConfig, replacing ours: [UnixSocketFile] = [], inherited: InheritedSockets.Socket? = nil, setup: Setup
    ) throws(ListenError) -> Listener {
        if let inherited {
            let descriptor = try inherited.duplicate()
            return Listener(
                name: config.path, port: nil, socket: .bound(descriptor: descriptor), file: .none, isInherited: true, setup: setup)
        }
        let pending = try UnixSocketFile.bind(config, replacing: ours)
        return Listener(
            name: config.path, port: nil, socket: .bound(descriptor: pending.descriptor), file: .pending(pending), unix: config,
            setup: setup)
    }

    /// If the file of the Unix socket has vanished, makes a new socket and its file: the old socket cannot get a name again.
    /// Blocks: never call it on an event loop.
    /// - Returns: the new socket, for `replaceSocket`; `nil` when nothing has vanished.
    func bindLostFile() throws(ListenError) -> UnixSocketFile.Pending? {
        guard let unix, let file = socketFile, file.isGone else { return nil }
        return try UnixSocketFile.bind(unix)
    }

    /// Accepts connections on another socket in place of the old one. Connections stay.
    func replaceSocket(by pending: UnixSocketFile.Pending) async throws(ListenError) {
        guard Glibc.listen(pending.descriptor, Self.backlog) == 0 else {
            let reason = SystemError.text(errno)
            pending.abandon()
            close(pending.descriptor)
            throw ListenError(name, reason)
        }
        let channel: any Channel
        do {
            channel = try await bootstrap.withBoundSocket(pending.descriptor).get()
        } catch {
            // NIO has closed the descriptor.
            pending.abandon()
            throw ListenError(name, "\(error)")
        }
        // NIO has called listen(2) again, with its own, shorter queue.
        _ = Glibc.listen(pending.descriptor, Self.backlog)
        let published: UnixSocketFile
        do throws(ListenError) {
            published = try pending.publish()
        } catch {
            pending.abandon()
            try? await channel.close()
            throw error
        }
        let old: Emptying? = state.withLock { state in
            guard case .listening(let old, let descriptor, true) = state.socket else { return nil }
            state.file = .published(published)
            state.socket = .listening(channel, descriptor: pending.descriptor, isStarted: true)
            state.emptying.append((old, descriptor))
            return (old, descriptor)
        }
        guard let old else {
            // It was closed in the meantime.
            published.remove()
            try? await channel.close()
            return
        }
        channel.pipeline.fireUserInboundEventTriggered(StartAcceptingEvent())
        // At the limit of connections this takes until open ones have ended.
        Task { await empty(old, until: .distantFuture) }
    }

    /// The kernel completes connections from now on, and keeps them waiting.
    func listen() async throws(ListenError) {
        let descriptor: CInt? = state.withLock { if case .bound(let descriptor) = $0.socket { descriptor } else { nil } }
        guard let descriptor else { return }
        guard Glibc.listen(descriptor, Self.backlog) == 0 else {
            throw port.map { ListenError(name, errno: errno, port: $0) } ?? ListenError(name, SystemError.text(errno))
        }
        do {
            let channel = try await bootstrap.withBoundSocket(descriptor).get()
            // NIO has called listen(2) again, with its own, shorter queue.
            _ = Glibc.listen(descriptor, Self.backlog)
            state.withLock { $0.socket = .listening(channel, descriptor: descriptor, isStarted: false) }
        } catch {
            // NIO has closed the descriptor.
            state.withLock { $0.socket = .closed }
            throw ListenError(name, "\(error)")
        }
    }

    /// Moves a Unix socket to its configured path, in one step. It replaces a stale socket, or that of a running listener.
    func publish() throws(ListenError) {
        try state.withLock { state throws(ListenError) in
            guard case .pending(let pending) = state.file else { return }
            state.file = .published(try pending.publish())
        }
    }

    private var bootstrap: ServerBootstrap {
        let (limit, policy, metrics, logger, connections) = (setup.limit, setup.policy, metrics, logger, connections)
        let settings = setup.connection(metrics, logger)
        let firstRead = setup.firstRead
        return ServerBootstrap(group: setup.group)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let firstRead { try channel.pipeline.syncOperations.addHandler(firstRead(metrics, connections, logger)) }
                    try channel.pipeline.syncOperations.addHandler(
                        ConnectionLimitHandler(limit: limit, policy: policy, metrics: metrics, connections: connections, logger: logger))
                }
            }
            .childChannelInitializer { channel in
                metrics.connections.add(1)
                channel.closeFuture.whenComplete { _ in
                    metrics.connections.add(-1)
                    connections.remove(channel)
                    limit.release()
                }
                return channel.eventLoop.makeCompletedFuture {
                    let (setUp, drain) = connections.setUp(channel, with: settings)
                    try setUp(channel)
                    if let drain { channel.pipeline.fireUserInboundEventTriggered(drain) }
                }
            }
    }
}
