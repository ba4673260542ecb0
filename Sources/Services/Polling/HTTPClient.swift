import NIOCore
import NIOPosix
import Proxy
import TLS

/// Fetches one target's metrics, one poll after another, over one kept connection. On its event loop alone.
final class HTTPClient {
    /// One poll under way.
    private struct Fetch {
        var redirects: RedirectPolicy
        /// The exchange of the current hop, once there is a connection.
        var connection: ExchangeHandler?
        /// Whether the exchange runs on a connection that the peer may have closed before it saw the request.
        var isOnKeptConnection = false
        /// How far the current hop is while it has no connection.
        var phase = PollFailure.Phase.connecting
    }

    private let polled: PolledTarget
    private let eventLoop: any EventLoop
    private let resolver: HostResolver
    private let ended: (Result<Exposition, PollFailure>) -> Void

    /// The connection to the target's own origin, free for the next poll.
    private var kept: ExchangeHandler?
    private var fetch: Fetch?
    /// Counts hops and polls, so that a connection which comes too late is known as such.
    private var attempt = 0

    /// - Parameter ended: called once for each `start`, on the event loop.
    init(
        _ polled: PolledTarget, on eventLoop: any EventLoop, resolver: HostResolver,
        ended: @escaping (Result<Exposition, PollFailure>) -> Void
    ) {
        self.polled = polled
        self.eventLoop = eventLoop
        self.resolver = resolver
        self.ended = ended
    }

    /// Begins a poll; one at a time.
    func start() {
        assert(fetch == nil, "one poll at a time")
        let redirects = RedirectPolicy(target: polled.target.url)
        fetch = Fetch(redirects: redirects)
        ask(redirects.current)
    }

    /// The poll has taken its whole time: it ends, and so does its connection.
    func timeOut() {
        guard let fetch else { return }
        let phase = fetch.connection?.phase ?? fetch.phase
        let certain = fetch.connection?.abandon()
        finish(.failure(certain ?? .timedOut(after: polled.target.timeout, phase)))
    }

    /// Closes every connection; a poll under way ends without a word.
    /// - Returns: when the connections are closed.
    func stop() -> EventLoopFuture<Void> {
        let connections = [kept, fetch?.connection].compactMap { $0 }
        let closed = connections.compactMap(\.closeFuture)
        attempt += 1
        kept = nil
        fetch = nil
        for connection in connections { connection.abandon() }
        return EventLoopFuture.andAllComplete(closed, on: eventLoop)
    }

    /// The exchange that `connection` was given is over.
    func exchangeEnded(_ end: ResponseReader.End, on connection: ExchangeHandler) {
        guard let fetch, fetch.connection === connection else { return }
        if fetch.isOnKeptConnection, case .failure = end.answer, !end.isReusable, connection.hasReceivedNothing {
            // The peer closed it between two polls, which is its right; that is no failure of the target.
            connect(to: fetch.redirects.current)
            return
        }
        let isOwn = fetch.redirects.current.isTrusted
        if end.isReusable, isOwn { kept = connection }
        switch end.answer {
        case .metrics(let exposition):
            if end.isReusable, !isOwn { connection.abandon() }
            finish(.success(exposition))
        case .failure(let failure):
            if end.isReusable, !isOwn { connection.abandon() }
            finish(.failure(failure))
        case .redirect(let location):
            if end.isReusable, !isOwn { connection.abandon() }
            follow(location)
        }
    }

    private func follow(_ location: String) {
        guard var redirects = fetch?.redirects else { return }
        do throws(PollFailure) {
            let hop = try redirects.follow(location)
            fetch = Fetch(redirects: redirects)
            attempt += 1
            // Not from within the decoder that has just delivered the redirect.
            let attempt = attempt
            eventLoop.assumeIsolated().execute { [weak self] in
                guard let self, self.attempt == attempt else { return }
                self.ask(hop)
            }
        } catch {
            finish(.failure(error))
        }
    }

    /// Asks on the kept connection if there is one, else on a new one.
    private func ask(_ hop: RedirectPolicy.Hop) {
        if hop.isTrusted, let connection = kept, connection.isIdle {
            kept = nil
            exchange(hop, on: connection, isKept: true)
        } else {
            connect(to: hop)
        }
    }

    private func exchange(_ hop: RedirectPolicy.Hop, on connection: ExchangeHandler, isKept: Bool) {
        fetch?.connection = connection
        fetch?.isOnKeptConnection = isKept
        let reader = ResponseReader(limit: polled.target.bodySizeLimit, followsRedirects: polled.target.followRedirects)
        connection.begin(polled.request.bytes(for: hop), reader: reader, for: self)
    }

    private func connect(to hop: RedirectPolicy.Hop) {
        attempt += 1
        fetch?.connection = nil
        fetch?.isOnKeptConnection = false
        fetch?.phase = .connecting
        // Another connection to the same origin would take its place.
        if hop.isTrusted { dropKept() }
        switch hop.url.origin {
        case .unix(let path):
            use(bootstrap(tls: nil).connect(unixDomainSocketPath: path), for: hop)
        case .http(let host, let port):
            connect(to: host, port: port, bootstrap(tls: nil), for: hop)
        case .https(let host, let port):
            guard let tls = polled.tls else {
                finish(.failure(.tlsFailed("TLS is not set up for this target")))
                return
            }
            let name = hop.isTrusted ? tls.serverName ?? host : host
            do throws(TLSSettingsError) {
                let context = try (hop.isTrusted ? tls.own : tls.foreign).get()
                connect(to: host, port: port, bootstrap(tls: (context, name)), for: hop)
            } catch {
                finish(.failure(.tlsFailed("\(error)")))
            }
        }
    }

    private func connect(to host: String, port: UInt16, _ bootstrap: ClientBootstrap, for hop: RedirectPolicy.Hop) {
        if let address = try? SocketAddress(ipAddress: host, port: Int(port)) {
            use(bootstrap.connect(to: address), for: hop)
            return
        }
        fetch?.phase = .resolving
        let attempt = attempt
        resolver.resolve(host, on: eventLoop).assumeIsolated().whenComplete { [weak self] result in
            guard let self, self.attempt == attempt else { return }
            switch result {
            case .success(let addresses):
                self.fetch?.phase = .connecting
                let resolved = ResolvedAddresses(addresses: addresses, eventLoop: self.eventLoop)
                self.use(bootstrap.resolver(resolved).connect(host: host, port: Int(port)), for: hop)
            case .failure(let error):
                let reason = (error as? HostResolver.LookupError)?.reason ?? "\(error)"
                self.finish(.failure(.couldNotResolve(host: host, reason: reason)))
            }
        }
    }

    private func bootstrap(tls: (context: TLSContext, name: String)?) -> ClientBootstrap {
        ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(polled.target.timeout))
            .channelOption(.recvAllocator, value: PassingReadBuffers())
            .channelOption(.maxMessagesPerRead, value: PassingReadBuffers.readsAtOnce)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls { try pipeline.addHandler(TLSHandler(client: tls.context, hostname: tls.name)) }
                    try pipeline.addHandler(ExchangeHandler(awaitsHandshake: tls != nil))
                }
            }
    }

    private func use(_ channel: EventLoopFuture<any Channel>, for hop: RedirectPolicy.Hop) {
        let attempt = attempt
        channel.assumeIsolated().whenComplete { [weak self] result in
            guard let self, self.attempt == attempt, self.fetch != nil else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            do {
                let connection = try result.get().pipeline.syncOperations.handler(type: ExchangeHandler.self)
                self.exchange(hop, on: connection, isKept: false)
            } catch {
                self.finish(.failure(PollFailure(connectError: error, timeout: self.polled.target.timeout)))
            }
        }
    }

    private func dropKept() {
        kept?.abandon()
        kept = nil
    }

    private func finish(_ result: Result<Exposition, PollFailure>) {
        attempt += 1
        fetch = nil
        ended(result)
    }
}
