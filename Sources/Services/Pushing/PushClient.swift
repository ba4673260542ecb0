import Glibc
import NIOCore
import NIOPosix
import Proxy
import TLS

/// Sends one message over one connection, from the lookup of the host's name to the receiver's answer. Used on its event loop only.
final class PushClient {
    /// A Unix socket whose queue is full refuses at once instead of making the client wait (connect(2)). The client then asks again.
    private static let pauseWhileFull = TimeAmount.milliseconds(20)
    /// Between attempts while nothing listens.
    private static let pauseWhileNothingListens = TimeAmount.milliseconds(200)

    private let encoder: PushEncoder
    private let address: PushAddress
    private let tls: PushTLS?
    private let timeout: Duration
    private let retryTime: Duration
    private let eventLoop: any EventLoop
    /// `nil` once it has been called.
    private var ended: ((Result<Void, PushFailure>) -> Void)?
    /// The end of further attempts while nothing listens.
    private var retriesUntil: NIODeadline
    /// The present step, for the text of a timeout.
    private var doing = "connecting"
    private var exchange: PushExchangeHandler?
    private var timer: Scheduled<Void>?

    /// - Parameters:
    ///   - tls: there for `tls://` and `https://`.
    ///   - timeout: for one attempt.
    ///   - retryTime: how long to try again while nothing listens.
    ///   - ended: called once, on the event loop.
    init(
        _ encoder: PushEncoder, to address: PushAddress, tls: PushTLS?, timeout: Duration, retryTime: Duration = .zero,
        on eventLoop: any EventLoop, ended: @escaping (Result<Void, PushFailure>) -> Void
    ) {
        self.encoder = encoder
        self.address = address
        self.tls = tls
        self.timeout = timeout
        self.retryTime = retryTime
        retriesUntil = eventLoop.now + TimeAmount(retryTime)
        self.eventLoop = eventLoop
        self.ended = ended
    }

    func start() {
        attempt()
    }

    private func attempt() {
        timer = eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(timeout)) { [self] in
            let doing = exchange?.doing ?? doing
            fail("timed out after \(DurationText.text(timeout)) while \(doing)")
        }
        connect()
    }

    private func connect() {
        switch address {
        case .unix(let path): use(bootstrap.connect(unixDomainSocketPath: path))
        case .tcp(let host, let port), .tls(let host, let port), .http(let host, let port), .https(let host, let port):
            if let address = try? SocketAddress(ipAddress: host, port: Int(port)) { return use(bootstrap.connect(to: address)) }
            doing = "looking up \(host)"
            let resolver = HostResolver(maxLookups: 1)
            resolver.resolve(host, on: eventLoop, until: .now() + TimeAmount(timeout)).assumeIsolated().whenComplete { [self] result in
                switch result {
                case .success(let addresses):
                    doing = "connecting"
                    let resolved = ResolvedAddresses(addresses: addresses, eventLoop: eventLoop)
                    use(bootstrap.resolver(resolved).connect(host: host, port: Int(port)))
                case .failure(let error):
                    fail("cannot look up \(host): \((error as? HostResolver.LookupError)?.reason ?? "\(error)")")
                }
            }
        }
    }

    private var bootstrap: ClientBootstrap {
        let (encoder, tls, isHTTP) = (encoder, tls, address.isHTTP)
        return ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(timeout))
            // The receiver may end its side first. Its answer must be read nevertheless.
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls { try pipeline.addHandler(TLSHandler(client: tls.context, hostname: tls.serverName)) }
                    try pipeline.addHandler(PushExchangeHandler(encoder, awaitsHandshake: tls != nil, isHTTP: isHTTP))
                }
            }
    }

    private func use(_ channel: EventLoopFuture<any Channel>) {
        channel.assumeIsolated().whenComplete { [self] result in
            guard ended != nil else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            do {
                let exchange = try result.get().pipeline.syncOperations.handler(type: PushExchangeHandler.self)
                self.exchange = exchange
                exchange.begin { [self] in finish($0.mapError { $0.failure(at: address) }) }
            } catch {
                connectFailed(error)
            }
        }
    }

    private func connectFailed(_ error: any Error) {
        if case .unix = address, (error as? IOError)?.errnoCode == EAGAIN {
            again(after: PushClient.pauseWhileFull) { [self] in connect() }
        } else if PushClient.meansNothingListens(error), eventLoop.now < retriesUntil {
            // The timeout is for one attempt, and the pause belongs to none.
            timer?.cancel()
            again(after: PushClient.pauseWhileNothingListens) { [self] in attempt() }
        } else {
            let tried = retryTime > .zero && PushClient.meansNothingListens(error) ? " (tried for \(DurationText.text(retryTime)))" : ""
            fail(PushClient.words(error) + tried)
        }
    }

    private func again(after pause: TimeAmount, _ body: @escaping () -> Void) {
        _ = eventLoop.assumeIsolated().scheduleTask(in: pause) { [self] in
            if ended != nil { body() }
        }
    }

    /// Whether a receiver may be starting: the port is closed, or the socket's file is missing or no process listens on it.
    private static func meansNothingListens(_ error: any Error) -> Bool {
        switch error {
        case let error as IOError: [ECONNREFUSED, ENOENT].contains(error.errnoCode)
        case let error as NIOConnectionError: error.connectionErrors.contains { meansNothingListens($0.error) }
        default: false
        }
    }

    /// The text for an error while connecting.
    private static func words(_ error: any Error) -> String {
        switch error {
        case let error as IOError where error.errnoCode == ECONNREFUSED:
            "connection refused; is exporter-proxy running, and listening there?"
        case let error as IOError: "cannot connect: \(SystemError.text(error.errnoCode))"
        case SocketAddressError.unixDomainSocketPathTooLong: "the path is too long for a Unix socket"
        case ChannelError.connectTimeout: "timed out while connecting"
        case let error as NIOConnectionError:
            // There is one error for each address. A refusal is preferred, because it shows that the host is up.
            error.connectionErrors.map { words($0.error) }.max { !$0.hasPrefix("connection refused") && $1.hasPrefix("connection refused") }
                ?? "timed out while connecting"
        default: "cannot connect: \(error)"
        }
    }

    private func fail(_ reason: String) {
        finish(.failure(PushFailure("\(address): \(reason)")))
    }

    private func finish(_ result: Result<Void, PushFailure>) {
        timer?.cancel()
        exchange?.abandon()
        let ended = ended
        self.ended = nil
        ended?(result)
    }
}
