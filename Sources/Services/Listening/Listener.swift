import Glibc
import Logging
public import NIOCore
import NIOPosix
import Proxy

/// Owns one listening socket and the connections that came through it. What happens on them is the business of whoever set up their pipelines.
public final class Listener: Sendable {
    /// As configured (with the port that the system picked, when port 0 was): the name in logs, in `/apps` and in metrics.
    public let name: String
    /// The address bound; `nil` for a Unix socket.
    public let localAddress: SocketAddress?
    /// The listening channel, for socket options that a reload needs.
    public let channel: any Channel
    private let socketFile: UnixSocketFile?
    private let connections: OpenConnections

    private init(name: String, channel: any Channel, socketFile: UnixSocketFile?, connections: OpenConnections) {
        self.name = name
        self.localAddress = socketFile == nil ? channel.localAddress : nil
        self.channel = channel
        self.socketFile = socketFile
        self.connections = connections
    }

    /// Connections open now.
    public var openConnections: Int { connections.count }

    /// Accepts connections from now on; those that came since `bind` have waited.
    public func start() {
        channel.pipeline.fireUserInboundEventTriggered(StartAcceptingEvent())
    }

    /// Stops listening, lets what is in flight finish, and closes what is left at the deadline.
    /// - Returns: how many connections had to be cut.
    @discardableResult
    public func drain(within time: Duration) async -> Int {
        await stopListening()
        let eventLoop = channel.eventLoop
        let emptied = connections.drainForGood(on: eventLoop)
        let deadline = eventLoop.scheduleTask(in: TimeAmount(time)) { [connections] in connections.closeAll() }
        try? await emptied.get()
        deadline.cancel()
        // A deadline that passed has its count; one that was cancelled cut nothing.
        return (try? await deadline.futureResult.get()) ?? 0
    }

    /// Lets every connection open now finish its exchange and closes it; new ones are accepted as before.
    public func retireConnections() {
        connections.drain()
    }

    private func stopListening() async {
        socketFile?.remove()
        try? await channel.close()
    }
}

extension Listener {
    /// Fills a new connection's pipeline; throwing closes it.
    typealias SetUpConnection = @Sendable (any Channel) throws -> Void

    /// What every listener has, whatever its address.
    struct Setup: Sendable {
        var group: any EventLoopGroup
        var limit: ConnectionLimit
        var policy: ConnectionLimitPolicy
        var logger: Logger
        /// Given the listener's name once it is known: what sets up each new connection, on its event loop.
        var connection: @Sendable (_ name: String, _ logger: Logger) -> SetUpConnection

        fileprivate func logger(for name: String) -> Logger {
            var logger = logger
            logger[metadataKey: LogKey.listener] = "\(name)"
            return logger
        }
    }

    /// Connections that the kernel completes and keeps for us; Linux's own default for the most that it allows.
    private static let backlog: Int32 = 4096

    /// Binds a TCP socket, and accepts nothing yet.
    /// - Parameter v6Only: whether `[::]` leaves IPv4 to a listener beside it.
    static func bind(_ address: ListenAddress, v6Only: Bool = false, setup: Setup) async throws(ListenError) -> Listener {
        let socketAddress: SocketAddress
        do {
            socketAddress = try SocketAddress(ipAddress: address.host, port: Int(address.port))
        } catch {
            throw ListenError("\(address)", "not a numeric IP address")
        }
        let connections = OpenConnections()
        let setUp = SettingsInForce<SetUpConnection?>(nil)
        var bootstrap = bootstrap(setup, connections, setUp, name: "\(address)")
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: backlog)
        if address.isIPv6 {
            // Not `.socketOption`, whose level is SOL_SOCKET: this number is another option there.
            bootstrap = bootstrap.serverChannelOption(ChannelOptions.socket(.init(IPPROTO_IPV6), .init(IPV6_V6ONLY)), value: v6Only ? 1 : 0)
        }
        do {
            let channel = try await bootstrap.bind(to: socketAddress).get()
            let port = channel.localAddress?.port.flatMap { UInt16(exactly: $0) } ?? address.port
            let name = ListenAddress(host: address.host, port: port).description
            setUp.replace(with: setup.connection(name, setup.logger(for: name)))
            return Listener(name: name, channel: channel, socketFile: nil, connections: connections)
        } catch let error as IOError {
            throw ListenError("\(address)", errno: error.errnoCode, port: address.port)
        } catch {
            throw ListenError("\(address)", "\(error)")
        }
    }

    /// Makes a Unix socket file, with its owner and mode before anyone can connect, and accepts nothing yet.
    static func bind(_ config: UnixSocketConfig, setup: Setup) async throws(ListenError) -> Listener {
        let pending = try UnixSocketFile.bind(config)
        let connections = OpenConnections()
        let setUp = SettingsInForce<SetUpConnection?>(setup.connection(config.path, setup.logger(for: config.path)))
        let channel: any Channel
        do {
            channel = try await bootstrap(setup, connections, setUp, name: config.path).withBoundSocket(pending.descriptor).get()
        } catch {
            pending.abandon()
            throw ListenError(config.path, "\(error)")
        }
        do {
            let file = try pending.publish(backlog: backlog)
            return Listener(name: config.path, channel: channel, socketFile: file, connections: connections)
        } catch {
            channel.close(mode: .all, promise: nil)
            pending.abandon()
            throw error
        }
    }

    /// - Parameter setUp: filled before the first connection is accepted.
    private static func bootstrap(
        _ setup: Setup, _ connections: OpenConnections, _ setUp: SettingsInForce<SetUpConnection?>, name: String
    ) -> ServerBootstrap {
        let logger = setup.logger(for: name)
        return ServerBootstrap(group: setup.group)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        ConnectionLimitHandler(limit: setup.limit, policy: setup.policy, logger: logger),
                        AcceptBackoffHandler(shouldForwardIOErrorCaught: false, backoffProvider: acceptBackoff(logger)))
                }
            }
            .childChannelInitializer { channel in
                channel.closeFuture.whenComplete { _ in
                    connections.remove(channel)
                    setup.limit.release()
                }
                return channel.eventLoop.makeCompletedFuture {
                    guard connections.insert(channel) else { throw ChannelError.ioOnClosedChannel }
                    try setUp.now?(channel)
                }
            }
    }

    /// Running out of descriptors must not end the listener, nor keep it busy with failing: it waits a little and says so once.
    private static func acceptBackoff(_ logger: Logger) -> (IOError) -> TimeAmount? {
        let lines = LogLimiter(burst: 1, each: .minutes(1))
        return { error in
            // The peer was gone before we came to it (accept(2)).
            if error.errnoCode == ECONNABORTED { return nil }
            if lines.admit() != nil {
                logger.error("cannot accept connections", metadata: [LogKey.error: "\(errorText(error.errnoCode))"])
            }
            return .milliseconds(200)
        }
    }
}
