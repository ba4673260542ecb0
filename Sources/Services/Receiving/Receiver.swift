import Logging
import NIOCore
public import Proxy
import TLS

/// One door for pushes: a listening TCP or Unix socket, and what its connections speak.
public final class Receiver: Sendable {
    /// The listening socket: its name, its address, its connections.
    public let listener: Listener
    private let limit: ConnectionLimit
    private let settings: SettingsInForce<ReceiverSettings>

    /// Where to receive.
    public enum Address: Equatable, Sendable {
        case tcp(ListenAddress)
        case unix(UnixSocketConfig)
    }

    /// Binds; nobody can connect before `listen()`.
    /// - Parameters:
    ///   - maxConnections: at the limit, no more are accepted until one ends.
    ///   - sharesPort: whether a listener of this process that shares too holds an overlapping address now.
    ///   - ours: the files of running receivers, one of which this one may replace.
    init(
        binding address: Address, settings: ReceiverSettings, maxConnections: Int, sharesPort: Bool = false,
        replacing ours: [UnixSocketFile] = [], intake: Intake, metrics: SelfMetrics, group: any EventLoopGroup, logger: Logger
    ) throws(ListenError) {
        let limit = ConnectionLimit(maxConnections)
        let settings = SettingsInForce(settings)
        let inflight = metrics.held[.pushing]
        var setup = Listener.Setup(group: group, limit: limit, policy: .wait, kind: .receiver, metrics: metrics, logger: logger) {
            metrics, logger in
            let source = Source.push(listener: metrics.name)
            let log = ConnectionLog(logger: logger)
            let handshakes = HandshakeLog(metrics: metrics, logger: logger)
            return {
                let settings = settings.now
                return { channel in
                    try Self.setUp(channel, settings, intake: intake, inflight: inflight, source: source, metrics: metrics, log: log) {
                        handshakes.ended($0, channel: $1)
                    }
                }
            }
        }
        setup.door = { metrics, connections in
            WholePushHandler(intake: intake, metrics: metrics, connections: connections) { settings.now }
        }
        switch address {
        case .tcp(let address): listener = try Listener.bind(address, sharesPort: sharesPort, setup: setup)
        case .unix(let config): listener = try Listener.bind(config, replacing: ours, setup: setup)
        }
        self.limit = limit
        self.settings = settings
        listener.metrics.setCertificate(notAfter: settings.now.transport.certificateNotAfter)
    }

    /// Accepts connections from now on.
    public func start() { listener.start() }

    /// For connections accepted from now on; open ones keep the format, limits and TLS that they began with.
    /// - Parameter accessChanged: open ones end after their current message.
    func update(_ settings: ReceiverSettings, maxConnections: Int, accessChanged: Bool) {
        if accessChanged {
            listener.changeAccess { self.settings.replace(with: settings) }
        } else {
            self.settings.replace(with: settings)
        }
        limit.set(maxConnections)
        listener.metrics.setCertificate(notAfter: settings.transport.certificateNotAfter)
    }

    /// Stops listening, lets messages in flight finish, and closes what is left at the deadline.
    /// - Returns: how many connections had to be cut.
    @discardableResult
    public func drain(within time: Duration) async -> Int { await listener.drain(within: time) }

    private static func setUp(
        _ channel: any Channel, _ settings: ReceiverSettings, intake: Intake, inflight: ByteBudget, source: Source,
        metrics: ListenerMetrics,
        log: ConnectionLog, onHandshake: @escaping @Sendable (TLSHandshakeFailure?, any Channel) -> Void
    ) throws {
        // A sender ends its side and still waits for ours.
        try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
        // One read takes an ordinary message whole; a large one is not read in a thousand pieces.
        let allocator = AdaptiveRecvByteBufferAllocator(minimum: 4 << 10, initial: 32 << 10, maximum: 256 << 10)
        try channel.syncOptions?.setOption(.recvAllocator, value: allocator)
        // A few reads, then it is the turn of others.
        try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 4)
        let transport = TransportPipeline(
            transport: settings.transport, inside: .push, handshakeTimeout: settings.handshakeTimeout,
            firstByteTimeout: settings.idleTimeout, onHandshake: onHandshake, closeTimeout: PushHandler.lingerTime)
        let refusesPlain = if case .required = settings.transport { true } else { false }
        try transport.install(on: channel) { channel, isTLS in
            let handler = PushHandler(
                intake: intake, inflight: inflight, source: source, metrics: metrics, log: log, format: settings.format,
                maxMessageSize: settings.maxMessageSize,
                idleTimeout: settings.idleTimeout, refusal: refusesPlain && !isTLS ? .tlsRequired : nil)
            try channel.pipeline.syncOperations.addHandler(handler)
        }
    }
}
