import HTTP
import Logging
import NIOCore
import Proxy
import TLS

/// The settings of the scrape side that a reload can change without touching its sockets. Each new connection reads those in force. An open
/// one takes over the timeouts whenever it has received bytes.
struct ScrapeSettings: Sendable {
    /// Whether connections use TLS.
    var transport: Transport
    /// For a TLS handshake.
    var handshakeTimeout: TimeAmount
    /// For a request's head, from its first byte; of a new connection, from its start.
    var headerTimeout: TimeAmount
    /// For a kept connection without a request.
    var idleTimeout: TimeAmount
    /// For a reader that takes no bytes.
    var writeTimeout: TimeAmount
    /// The longest that a reader may take for one answer.
    var responseTimeout: TimeAmount
}

extension ScrapeSettings {
    /// - Parameter transport: made of `config.tls`.
    init(_ config: ExporterConfig, transport: Transport) {
        self.init(
            transport: transport, handshakeTimeout: TimeAmount(config.handshakeTimeout), headerTimeout: TimeAmount(config.headerTimeout),
            idleTimeout: TimeAmount(config.idleTimeout), writeTimeout: TimeAmount(config.writeTimeout),
            responseTimeout: TimeAmount(config.responseTimeout))
    }

    /// Those of an HTTP connection.
    var timeouts: ServerConnection.Timeouts {
        ServerConnection.Timeouts(head: headerTimeout, idle: idleTimeout, write: writeTimeout, response: responseTimeout)
    }
}

/// The state that all scrape listeners share and reloads keep: the routes, the limit of open connections, the slow readers.
final class ScrapeServer: Sendable {
    /// The limit of bytes that were read and are not consumed, of all connections together: 4096 of them with a few KiB each.
    private static let maxReading = ByteCount.mebibytes(64)

    private let responder: any Responder
    private let metrics: SelfMetrics
    /// What all HTTP connections share, those of receivers too.
    let parts: HTTPServerParts.Shared
    private let limit: ConnectionLimit
    private let group: any EventLoopGroup
    private let logger: Logger

    /// - Parameter maxConnections: open connections of all listeners together; more are closed at once.
    init(
        responder: any Responder, metrics: SelfMetrics, clock: @escaping @Sendable () -> Timestamp, maxConnections: Int,
        group: any EventLoopGroup, logger: Logger
    ) {
        self.responder = responder
        self.metrics = metrics
        parts = HTTPServerParts.Shared(
            date: DateText(clock: clock), turns: EventLoopTurns.OfGroup(group), reading: metrics.held[.reading],
            slowReaders: SlowReaders(budget: metrics.held[.answering]), cutReaders: metrics.cutReaders)
        metrics.held[.reading].limit = Self.maxReading
        limit = ConnectionLimit(maxConnections)
        self.group = group
        self.logger = logger
    }

    /// Applies from now on; open connections stay.
    func setMaxConnections(_ maximum: Int) { limit.set(maximum) }

    /// Binds one address. Connections are refused until its listener listens.
    /// - Parameters:
    ///   - v6Only: whether `[::]` leaves IPv4 to a listener beside it.
    ///   - sharesPort: whether a listener of this process that shares too holds an overlapping address now.
    ///   - inherited: is used instead of a new socket.
    func bind(
        _ address: ListenAddress, settings: ScrapeSettings, v6Only: Bool = false, sharesPort: Bool = false,
        inherited: InheritedSockets.Socket? = nil
    ) throws(ListenError) -> ScrapeListener {
        let settings = SettingsInForce(settings)
        let setup = Listener.Setup(group: group, limit: limit, policy: .refuse, kind: .scrape, metrics: metrics, logger: logger) {
            [responder, all = self.metrics, shared = parts] metrics, logger in
            let parts = HTTPServerParts(shared, log: ConnectionLog(logger: logger)) { settings.now.timeouts }
            let handshakes = HandshakeLog(metrics: metrics, logger: logger)
            return {
                let settings = settings.now
                return { channel in
                    try Self.setUp(channel, settings, parts, responder: responder, requests: all.requests) {
                        handshakes.ended($0, channel: $1)
                    }
                }
            }
        }
        return ScrapeListener(
            listener: try Listener.bind(address, v6Only: v6Only, sharesPort: sharesPort, inherited: inherited, setup: setup),
            settings: settings)
    }

    private static func setUp(
        _ channel: any Channel, _ settings: ScrapeSettings, _ parts: HTTPServerParts, responder: any Responder, requests: RequestMetrics,
        onHandshake: @escaping @Sendable (TLSHandshakeFailure?, any Channel) -> Void
    ) throws {
        // Requests are small.
        try HTTPServerHandler.setOptions(of: channel, allocator: FixedSizeRecvByteBufferAllocator(capacity: 4 << 10), reads: 1)
        let transport = TransportPipeline(
            transport: settings.transport, inside: .http, handshakeTimeout: settings.handshakeTimeout,
            firstByteTimeout: settings.headerTimeout, onHandshake: onHandshake, closeTimeout: settings.writeTimeout)
        try transport.install(on: channel) { channel, isTLS in
            let peer = Peer(address: channel.remoteAddress)
            let exchange = ScrapeExchange(responder: responder, requests: requests, log: parts.log, peer: peer, isTLS: isTLS)
            let handler = HTTPServerHandler(
                ServerConnection(timeouts: settings.timeouts, maxBody: ScrapeExchange.maxBody), exchange: exchange, parts: parts,
                handshakeTimeout: isTLS ? settings.handshakeTimeout : nil)
            try channel.pipeline.syncOperations.addHandler(handler)
        }
    }
}

/// One address where Prometheus scrapes.
final class ScrapeListener: ServedListener {
    /// The listening socket: its name, its address, its connections.
    let listener: Listener
    private let settings: SettingsInForce<ScrapeSettings>

    fileprivate init(listener: Listener, settings: SettingsInForce<ScrapeSettings>) {
        self.listener = listener
        self.settings = settings
    }

    func start() { listener.start(showing: settings.now.transport) }

    func update(_ new: PreparedConfig, _ plan: ReloadPlan, maxConnections: Int) {
        let new = new.scrapeSettings
        listener.update(settings, to: new, new.transport, accessChanged: plan.changesScrapeAccess)
    }
}

/// The requests of one connection of the scrape side. No route takes a body, so each request is answered when it is complete.
final class ScrapeExchange: HTTPExchange {
    /// The largest body that is read and ignored, in bytes.
    static let maxBody = 64 << 10

    private let responder: any Responder
    private let requests: RequestMetrics
    private let log: ConnectionLog
    private let peer: Peer
    private let isTLS: Bool
    /// The request under way.
    private var head: RequestHead?
    /// Its path; `nil` when it could not be read.
    private var path: String?

    init(responder: any Responder, requests: RequestMetrics, log: ConnectionLog, peer: Peer, isTLS: Bool) {
        self.responder = responder
        self.requests = requests
        self.log = log
        self.peer = peer
        self.isTLS = isTLS
    }

    func begin(_ head: RequestHead, on eventLoop: any EventLoop) -> HTTPBeginning {
        self.head = head
        path = nil
        return .body
    }

    func take(_ piece: ByteBuffer) -> Response? { nil }

    func end(on eventLoop: any EventLoop) -> Answer {
        guard let head else { return .now(.text(500, "internal server error")) }
        do {
            let request = try Request(head, isTLS: isTLS, peer: peer)
            path = request.path
            return responder.respond(to: request, on: eventLoop)
        } catch {
            return .now(error.response)
        }
    }

    func refuse(_ error: RequestError) -> Response {
        head = nil
        path = nil
        // A body of this size is probably a push.
        let hint = error.status == 413 ? ": this port takes no pushes, receiver_http_socket does" : ""
        return .text(error.status, error.reason + hint)
    }

    func willSend(_ response: Response) {
        requests.count(path: path, code: response.status)
        // Log only wrong credentials: a request without any gets 401 as a matter of course.
        if response.status == 401, head?.authorization != nil { log.write(.info, "wrong password", peer: peer.description) }
    }
}
