import Logging
import NIOCore
import Proxy
import TLS

/// The settings of a receiver that a reload can change without touching its socket. Each new connection reads those in force. An open one
/// takes over the size and the times whenever it has received bytes.
struct ReceiverSettings: Sendable {
    /// Always `.off` for a Unix socket.
    var transport: Transport
    /// The format of the messages.
    var format: PushFormat
    /// A larger message is refused.
    var maxMessageSize: ByteCount
    /// How long a sender may take.
    var times: PushStateMachine.Times
    /// For a TLS handshake.
    var handshakeTimeout: TimeAmount
}

extension ReceiverSettings {
    /// - Parameter transport: made of `receiver.tls` for TCP; `.off` for the Unix socket.
    init(_ config: Config, transport: Transport) {
        self.init(
            transport: transport, format: config.receiver.format, maxMessageSize: config.receiver.maxMessageSize,
            times: PushStateMachine.Times(
                idle: TimeAmount(config.receiver.idleTimeout), message: TimeAmount(config.receiver.messageTimeout)),
            handshakeTimeout: TimeAmount(config.exporter.handshakeTimeout))
    }
}

/// A listening TCP or Unix socket that takes pushes.
final class Receiver: ServedListener {
    /// The listening socket: its name, its address, its connections.
    let listener: Listener
    private let limit: ConnectionLimit
    private let settings: SettingsInForce<ReceiverSettings>

    /// Where to receive.
    enum Address: Equatable, Sendable {
        case tcp(ListenAddress)
        case unix(UnixSocketConfig)

        var isUnix: Bool { if case .unix = self { true } else { false } }
    }

    /// Binds; connections are refused before `listen()`.
    /// - Parameters:
    ///   - maxConnections: at the limit, no more are accepted until one ends.
    ///   - sharesPort: whether a listener of this process that shares too holds an overlapping address now.
    ///   - ours: the socket files of running receivers. The new receiver may replace one of them.
    ///   - inherited: is used instead of a new socket.
    ///   - decoding: made for `group`.
    init(
        binding address: Address, settings: ReceiverSettings, maxConnections: Int, sharesPort: Bool = false,
        replacing ours: [UnixSocketFile] = [], inherited: InheritedSockets.Socket? = nil, intake: Intake, metrics: SelfMetrics,
        decoding: PushDecoding, group: any EventLoopGroup, logger: Logger
    ) throws(ListenError) {
        let limit = ConnectionLimit(maxConnections)
        let settings = SettingsInForce(settings)
        let inflight = metrics.held[.pushing]
        let limiter = LogLimiter()
        let makeSetup = { @Sendable (metrics: ListenerMetrics, logger: Logger) in
            ConnectionSetup(intake, metrics, settings, decoding, inflight, ConnectionLog(logger: logger, limiter: limiter), logger)
        }
        var setup = Listener.Setup(group: group, limit: limit, policy: .wait, kind: .receiver, metrics: metrics, logger: logger) {
            metrics, logger in
            let connection = makeSetup(metrics, logger)
            return {
                let settings = settings.now
                return { channel in try connection.setUp(channel, settings) }
            }
        }
        setup.firstRead = { metrics, connections, logger in
            let connection = makeSetup(metrics, logger)
            return FirstReadHandler(connection.destination, decoding: decoding, connections: connections) {
                settings.now
            } makePipeline: { channel, settings, stream, stop in
                try connection.setUp(channel, settings, stream, stop)
            }
        }
        switch address {
        case .tcp(let address): listener = try Listener.bind(address, sharesPort: sharesPort, inherited: inherited, setup: setup)
        case .unix(let config): listener = try Listener.bind(config, replacing: ours, inherited: inherited, setup: setup)
        }
        self.limit = limit
        self.settings = settings
    }

    func start() { listener.start(showing: settings.now.transport) }

    func update(_ new: PreparedConfig, _ plan: ReloadPlan, maxConnections: Int) {
        let isUnix = listener.port == nil
        update(
            new.receiverSettings(isUnix: isUnix), maxConnections: maxConnections, accessChanged: plan.changesTCPAccess && !isUnix)
    }

    /// Replaces the settings. Open connections keep their format and TLS.
    /// - Parameter accessChanged: open ones end after their current message.
    func update(_ settings: ReceiverSettings, maxConnections: Int, accessChanged: Bool) {
        listener.update(self.settings, to: settings, settings.transport, accessChanged: accessChanged)
        limit.set(maxConnections)
    }
}

/// Makes the pipelines of a receiver's connections.
private struct ConnectionSetup: Sendable {
    let destination: PushStream.Destination
    let shared: PushHandler.Shared
    let handshakes: HandshakeLog

    init(
        _ intake: Intake, _ metrics: ListenerMetrics, _ settings: SettingsInForce<ReceiverSettings>, _ decoding: PushDecoding,
        _ inflight: ByteBudget, _ log: ConnectionLog, _ logger: Logger
    ) {
        destination = PushStream.Destination(intake: intake, source: .push(listener: metrics.name), metrics: metrics)
        shared = PushHandler.Shared(settings: settings, decoding: decoding, inflight: inflight, log: log)
        handshakes = HandshakeLog(metrics: metrics, logger: logger)
    }

    /// For a connection from which nothing was read yet.
    func setUp(_ channel: any Channel, _ settings: ReceiverSettings) throws {
        try setOptions(of: channel)
        let transport = TransportPipeline(
            transport: settings.transport, inside: .push, handshakeTimeout: settings.handshakeTimeout,
            firstByteTimeout: settings.times.idle, onHandshake: { handshakes.ended($0, channel: $1) },
            closeTimeout: PushStateMachine.lingerTime)
        let refusesPlain = if case .required = settings.transport { true } else { false }
        try transport.install(on: channel) { channel, isTLS in
            let stream = PushStream(destination, settings, isTLS: isTLS, refusal: refusesPlain && !isTLS ? .tlsRequired : nil)
            try add(stream, firstStop: nil, to: channel)
        }
    }

    /// For a plain connection from which the first read was made; `stop` is why that ended.
    func setUp(_ channel: any Channel, _ settings: ReceiverSettings, _ stream: PushStream, _ stop: PushStream.Stop) throws {
        try setOptions(of: channel)
        try add(stream, firstStop: stop, to: channel)
    }

    private func add(_ stream: PushStream, firstStop: PushStream.Stop?, to channel: any Channel) throws {
        try channel.pipeline.syncOperations.addHandler(PushHandler(stream, shared, firstStop: firstStop))
    }

    private func setOptions(of channel: any Channel) throws {
        // A sender ends its side and still waits for ours.
        try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
        try channel.syncOptions?.setOption(.recvAllocator, value: PassingReadBuffers.ofPushes)
        try channel.syncOptions?.setOption(.maxMessagesPerRead, value: PassingReadBuffers.readsAtOnce)
    }
}
