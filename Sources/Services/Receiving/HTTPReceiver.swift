import HTTP
import Logging
import NIOCore
import Proxy
import TLS

/// The settings of an HTTP receiver that a reload can change without touching its socket. Each new connection reads those in force. An
/// open one takes over the timeouts whenever it has received bytes, and each request reads the largest size in force.
struct HTTPReceiverSettings: Sendable {
    var transport: Transport
    /// A larger message is refused; counted uncompressed.
    var maxMessageSize: ByteCount
    /// For a TLS handshake.
    var handshakeTimeout: TimeAmount
    var timeouts: ServerConnection.Timeouts

    /// - Parameter transport: made of `receiver.tls`.
    init(_ config: Config, transport: Transport) {
        self.transport = transport
        maxMessageSize = config.receiver.maxMessageSize
        handshakeTimeout = TimeAmount(config.exporter.handshakeTimeout)
        timeouts = ServerConnection.Timeouts(
            head: TimeAmount(config.exporter.headerTimeout), body: TimeAmount(config.receiver.messageTimeout),
            stall: TimeAmount(config.receiver.idleTimeout), idle: TimeAmount(config.receiver.idleTimeout),
            write: TimeAmount(config.exporter.writeTimeout),
            response: TimeAmount(config.exporter.responseTimeout))
    }
}

/// A listening TCP socket that takes pushes over HTTP.
final class HTTPReceiver: ServedListener {
    /// What all HTTP receivers share.
    struct Shared: Sendable {
        let routes: PushRoutes
        let parts: HTTPServerParts.Shared
        let metrics: SelfMetrics
        let largeMessages: LargeMessages
        let group: any EventLoopGroup
        let logger: Logger
    }

    /// The bytes that are read and dropped after a refusal: enough for a sender that first writes all of a large message.
    private static let lingerBytes = PushStateMachine.lingerBytes

    /// The listening socket: its name, its address, its connections.
    let listener: Listener
    private let limit: ConnectionLimit
    private let settings: SettingsInForce<HTTPReceiverSettings>

    /// Binds; connections are refused before `listener.listen()`.
    /// - Parameters:
    ///   - maxConnections: at the limit, no more are accepted until one ends.
    ///   - sharesPort: whether a listener of this process that shares too holds an overlapping address now.
    ///   - inherited: is used instead of a new socket.
    init(
        binding address: ListenAddress, settings: HTTPReceiverSettings, maxConnections: Int, sharesPort: Bool = false,
        inherited: InheritedSockets.Socket? = nil, _ shared: Shared
    ) throws(ListenError) {
        let limit = ConnectionLimit(maxConnections)
        let settings = SettingsInForce(settings)
        let setup = Listener.Setup(
            group: shared.group, limit: limit, policy: .wait, kind: .httpReceiver, metrics: shared.metrics, logger: shared.logger
        ) { metrics, logger in
            let log = ConnectionLog(logger: logger)
            let destination = PushExchange.Destination(
                routes: shared.routes, source: .push(listener: metrics.name), metrics: metrics, log: log,
                largeMessages: shared.largeMessages,
                inflight: shared.metrics.held[.pushing], settings: settings)
            let parts = HTTPServerParts(shared.parts, log: log) { settings.now.timeouts }
            let handshakes = HandshakeLog(metrics: metrics, logger: logger)
            return {
                let settings = settings.now
                return { channel in try Self.setUp(channel, settings, parts, destination) { handshakes.ended($0, channel: $1) } }
            }
        }
        listener = try Listener.bind(address, sharesPort: sharesPort, inherited: inherited, setup: setup)
        self.limit = limit
        self.settings = settings
    }

    func start() { listener.start(showing: settings.now.transport) }

    private static func setUp(
        _ channel: any Channel, _ settings: HTTPReceiverSettings, _ parts: HTTPServerParts, _ destination: PushExchange.Destination,
        onHandshake: @escaping @Sendable (TLSHandshakeFailure?, any Channel) -> Void
    ) throws {
        try HTTPServerHandler.setOptions(of: channel, allocator: PassingReadBuffers.ofPushes, reads: PassingReadBuffers.readsAtOnce)
        let transport = TransportPipeline(
            transport: settings.transport, inside: .http, plainHTTPPrefix: "error: ", handshakeTimeout: settings.handshakeTimeout,
            firstByteTimeout: settings.timeouts.head, onHandshake: onHandshake, closeTimeout: settings.timeouts.write)
        try transport.install(on: channel) { channel, isTLS in
            // The exchange limits bodies, because it counts uncompressed bytes.
            let connection = ServerConnection(timeouts: settings.timeouts, maxBody: .max, lingerBytes: lingerBytes)
            let handler = HTTPServerHandler(
                connection, exchange: PushExchange(destination, channel: channel, isTLS: isTLS), parts: parts,
                handshakeTimeout: isTLS ? settings.handshakeTimeout : nil)
            try channel.pipeline.syncOperations.addHandler(handler)
        }
    }
}

extension HTTPReceiver {
    /// As `ServedListener` says; the next request of an open connection gets the new limits of messages.
    func update(_ new: PreparedConfig, _ plan: ReloadPlan, maxConnections: Int) {
        let new = new.httpReceiverSettings
        listener.update(settings, to: new, new.transport, accessChanged: plan.changesHTTPAccess)
        limit.set(maxConnections)
    }
}
