import HTTP
import NIOCore
import NIOPosix
import NIOTLS
import Proxy
import TLS

/// Opens connections for one target: looks up names, refuses addresses to which a redirect must not lead, asks a proxy for a tunnel, adds
/// TLS. Used on its event loop only.
struct TargetConnector: Sendable {
    typealias Opened = (Result<TargetConnection, PollFailure>) -> Void

    let polled: PolledTarget
    let eventLoop: any EventLoop
    let resolver: HostResolver
    let pool: PollingPool
    /// How often none of the tried addresses of a host could be connected to. Only hosts with more addresses than one attempt tries count.
    private let failures: NIOLoopBoundBox<[String: Int]>

    /// A TLS context, and the name that is sent and verified.
    private typealias TLS = (context: TLSContext, name: String)

    init(polled: PolledTarget, eventLoop: any EventLoop, resolver: HostResolver, pool: PollingPool) {
        self.polled = polled
        self.eventLoop = eventLoop
        self.resolver = resolver
        self.pool = pool
        failures = .makeBoxSendingValue([:], as: [String: Int].self, eventLoop: eventLoop)
    }

    /// Opens a connection for `hop`.
    /// - Parameters:
    ///   - attempt: new; its cancellation closes what is being opened.
    ///   - entered: called with each new phase.
    ///   - opened: called once, unless the deadline passes. A TLS handshake may still be under way then.
    func open(
        _ hop: RedirectPolicy.Hop, as attempt: ConnectionAttempt, entered: @escaping (PollFailure.Phase) -> Void,
        opened: @escaping Opened
    ) {
        switch hop.url.origin {
        case .unix(let path):
            take(bootstrap(attempt) { try add(to: $0, nil, reach: .host) }.connect(unixDomainSocketPath: path), opened)
        case .http(let host, let port):
            open(hop, host, port, nil, as: attempt, entered, opened)
        case .https(let host, let port):
            prepareTLS(for: hop, host: host) { result in
                switch result {
                case .success(let tls): open(hop, host, port, tls, as: attempt, entered, opened)
                case .failure(let failure): opened(.failure(failure))
                }
            }
        }
    }

    private func open(
        _ hop: RedirectPolicy.Hop, _ host: String, _ port: UInt16, _ tls: TLS?, as attempt: ConnectionAttempt,
        _ entered: @escaping (PollFailure.Phase) -> Void, _ opened: @escaping Opened
    ) {
        if let proxy = polled.target.proxyURL {
            return open(hop, host: host, tls, through: proxy, as: attempt, entered, opened)
        }
        resolve(host, until: attempt.deadline, entered) { result in
            do throws(PollFailure) {
                let addresses = try result.get().allowed(by: hop, host: host)
                take(connect(to: addresses, host, port, bootstrap(attempt) { try add(to: $0, tls, reach: nil) }), opened)
            } catch {
                opened(.failure(error))
            }
        }
    }

    // MARK: - Through a proxy

    private func open(
        _ hop: RedirectPolicy.Hop, host: String, _ tls: TLS?, through proxy: HTTPProxy, as attempt: ConnectionAttempt,
        _ entered: @escaping (PollFailure.Phase) -> Void, _ opened: @escaping Opened
    ) {
        // The proxy looks up names, so only an address that is written in the URL is known here.
        let reach = AddressReach(host: host)
        do throws(PollFailure) { try hop.check(reach, host: host) } catch { return opened(.failure(error)) }
        let opened: Opened = { opened($0.mapError { .proxy("\(proxy): \($0)") }) }
        resolve(proxy.host, until: attempt.deadline, entered) { result in
            let addresses: HostResolver.Addresses
            do throws(PollFailure) { addresses = try result.get() } catch { return opened(.failure(error)) }
            guard let tls else {
                let plain = bootstrap(attempt) { try add(to: $0, nil, reach: reach) }
                return take(connect(to: addresses, proxy.host, proxy.port, plain), opened)
            }
            let channel = connect(to: addresses, proxy.host, proxy.port, bootstrap(attempt) { _ in })
            channel.assumeIsolated().whenComplete { result in
                do {
                    entered(.tunnel)
                    let channel = try result.get()
                    let request = polled.request.tunnelRequest(to: hop.url.origin)
                    let handler = TunnelHandler(request) { failure in
                        if let failure { return opened(.failure(failure)) }
                        do {
                            try add(to: channel, tls, reach: reach)
                            take(eventLoop.makeSucceededFuture(channel), opened)
                        } catch {
                            channel.close(promise: nil)
                            opened(.failure(.tlsFailed("\(error)")))
                        }
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                } catch {
                    opened(.failure(PollFailure(connectError: error, timeout: polled.target.timeout)))
                }
            }
        }
    }

    // MARK: - Steps

    private func prepareTLS(
        for hop: RedirectPolicy.Hop, host: String, _ prepared: @escaping (Result<TLS, PollFailure>) -> Void
    ) {
        guard let tls = polled.tls else { return prepared(.failure(.tlsFailed("TLS is not set up for this target"))) }
        let context = hop.isTrusted ? tls.own : tls.foreign
        let name = hop.isTrusted ? tls.serverName ?? host : host
        if let made = context.made { return prepared(.success((made, name))) }
        // Making one takes milliseconds.
        let making = pool.run(on: eventLoop) { Result { () throws(TLSSettingsError) in try context.get() } }
        making.assumeIsolated().whenComplete { result in
            switch result {
            case .success(.success(let context)): prepared(.success((context, name)))
            case .success(.failure(let error)): prepared(.failure(.tlsFailed("\(error)")))
            case .failure: prepared(.failure(.stopped))
            }
        }
    }

    private func resolve(
        _ host: String, until deadline: NIODeadline, _ entered: @escaping (PollFailure.Phase) -> Void,
        _ resolved: @escaping (Result<HostResolver.Addresses, PollFailure>) -> Void
    ) {
        if let address = try? SocketAddress(ipAddress: host, port: 0) {
            return resolved(.success(address.protocol == .inet6 ? .init(v6: [address]) : .init(v4: [address])))
        }
        entered(.resolving)
        resolver.resolve(host, on: eventLoop, until: deadline).assumeIsolated().whenComplete { result in
            // After the deadline no poll waits for a connection.
            guard .now() < deadline else { return }
            entered(.connecting)
            resolved(
                result.mapError { error in
                    .couldNotResolve(host: host, reason: (error as? HostResolver.LookupError)?.reason ?? "\(error)")
                })
        }
    }

    private func bootstrap(
        _ attempt: ConnectionAttempt, _ prepare: @escaping @Sendable (any Channel) throws -> Void
    ) -> ClientBootstrap {
        let opening = NIOLoopBound(attempt, eventLoop: eventLoop)
        return ClientBootstrap(group: eventLoop)
            .connectTimeout(attempt.deadline - NIODeadline.now())
            .channelOption(.recvAllocator, value: PassingReadBuffers.ofPolls)
            .channelOption(.maxMessagesPerRead, value: PassingReadBuffers.readsAtOnce)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try opening.value.add(channel)
                    try prepare(channel)
                }
            }
    }

    /// The most addresses of a name that are tried at once, of each family.
    static let maxAddresses = 2

    private func connect(
        to addresses: HostResolver.Addresses, _ host: String, _ port: UInt16, _ bootstrap: ClientBootstrap
    ) -> EventLoopFuture<any Channel> {
        // A quarter of a second after each address the next one is tried, and a silent one keeps its descriptor until the timeout. So only
        // some are tried. If none of them works, the next poll tries the next ones; if one does, the next poll tries the same ones.
        let tried = addresses.selected(Self.maxAddresses, after: failures.value[host] ?? 0)
        let all = tried.v4 + tried.v6
        let channel: EventLoopFuture<any Channel> =
            all.count == 1
            ? bootstrap.connect(to: all[0].withPort(Int(port)))
            : bootstrap.resolver(ResolvedAddresses(addresses: tried, eventLoop: eventLoop)).connect(host: host, port: Int(port))
        if tried != addresses {
            channel.assumeIsolated().whenFailure { [failures] _ in
                // Redirects may lead to any number of hosts.
                if failures.value.count > RedirectPolicy.limit { failures.value = [:] }
                failures.value[host, default: 0] += 1
            }
        }
        return channel
    }

    /// Makes a channel a target's connection.
    private func add(to channel: any Channel, _ tls: TLS?, reach: AddressReach?) throws {
        let pipeline = channel.pipeline.syncOperations
        let connection = TargetConnection(awaitsHandshake: tls != nil, reach: reach, budget: pool.budget)
        try pipeline.addHandler(connection)
        // In a tunnel the handshake begins, and may fail, as soon as its handler is added.
        if let tls { try pipeline.addHandler(TLSHandler(client: tls.context, hostname: tls.name), position: .before(connection)) }
    }

    private func take(_ channel: EventLoopFuture<any Channel>, _ opened: @escaping Opened) {
        channel.assumeIsolated().whenComplete { result in
            do {
                opened(.success(try result.get().pipeline.syncOperations.handler(type: TargetConnection.self)))
            } catch {
                opened(.failure(PollFailure(connectError: error, timeout: polled.target.timeout)))
            }
        }
    }
}

/// A connection that is being opened. Belongs to its event loop.
final class ConnectionAttempt {
    private struct Cancelled: Error {}

    /// The deadline of the poll.
    let deadline: NIODeadline
    /// One for each address that was tried.
    private var channels: [any Channel] = []
    private var isCancelled = false

    init(until deadline: NIODeadline) { self.deadline = deadline }

    /// A channel is about to connect.
    /// - Throws: after `cancel`, so that it does not.
    fileprivate func add(_ channel: any Channel) throws {
        if isCancelled { throw Cancelled() }
        channels.append(channel)
    }

    /// Closes what is being opened, and lets nothing more be opened. Its result, a failure or nothing, may follow at once.
    /// - Returns: for each channel, when it is closed.
    func cancel() -> [EventLoopFuture<Void>] {
        isCancelled = true
        for channel in channels { channel.close(promise: nil) }
        return channels.map(\.closeFuture)
    }
}

/// Asks an HTTP proxy for a tunnel, and then leaves the pipeline to the handlers that use it. It carries out the actions of `ClientTunnel`.
private final class TunnelHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var tunnel = ClientTunnel()
    private let request: ByteBuffer
    private var context: ChannelHandlerContext?
    private var opened: ((PollFailure?) -> Void)?

    /// - Parameter opened: called once, with the reason if there is no tunnel.
    init(_ request: ByteBuffer, opened: @escaping (PollFailure?) -> Void) {
        self.request = request
        self.opened = opened
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        guard context.channel.isActive else { return fail(nil) }
        context.writeAndFlush(wrapOutboundOut(request), promise: nil)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard opened != nil else { return context.fireChannelRead(data) }
        switch tunnel.receive(unwrapInboundIn(data)) {
        case .wait: break
        case .open: end(nil)
        case .refused(let status, let reason): fail(.status(status, reason: reason, note: nil))
        case .failed(let error): fail(PollFailure(error))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(PollFailure(connectionError: error, phase: .tunnel))
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(.connectionEnded(.tunnel, reason: nil))
        context.fireChannelInactive()
    }

    private func fail(_ failure: PollFailure?) {
        guard opened != nil, let context else { return }
        // Closing calls `channelInactive` at once, which must not end it with another reason. So the handler ends first, and then its
        // context closes nothing any more.
        let channel = context.channel
        end(failure ?? .connectionEnded(.tunnel, reason: nil))
        channel.close(promise: nil)
    }

    private func end(_ failure: PollFailure?) {
        guard let opened else { return }
        self.opened = nil
        opened(failure)
        context?.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}

extension AddressReach {
    init(_ address: SocketAddress) {
        let structure = address.withSockAddr { start, size in Array(UnsafeRawBufferPointer(start: start, count: size)) }
        switch address {
        // The address comes after family, port and, for IPv6, flow (ip(7), ipv6(7)).
        case .v4: self = AddressReach(address: Array(structure[4..<8]))
        case .v6: self = AddressReach(address: Array(structure[8..<24]))
        case .unixDomainSocket: self = .host
        }
    }

    /// The reach of a host that is not looked up here. Only addresses and the name `localhost` are known.
    fileprivate init(host: String) {
        if let address = try? SocketAddress(ipAddress: host, port: 0) {
            self.init(address)
        } else {
            // A full name ends in a dot.
            let name = host.hasSuffix(".") ? host.dropLast() : host[...]
            self = name == "localhost" || name.hasSuffix(".localhost") ? .host : .network
        }
    }
}

extension RedirectPolicy.Hop {
    /// - Throws: `.invalidRedirect` when a connection to such an address must not be made.
    fileprivate func check(_ reach: AddressReach, host: String) throws(PollFailure) {
        guard !allows(reach) else { return }
        throw .invalidRedirect("\(host) is \(reach.words); only a server that is at such an address itself may lead there")
    }
}

extension HostResolver.Addresses {
    /// At most `count` of each family: after each failure the next ones, in order, and after the last one the first.
    fileprivate func selected(_ count: Int, after failures: Int) -> HostResolver.Addresses {
        func selected(_ all: [SocketAddress]) -> [SocketAddress] {
            (0..<min(count, all.count)).map { all[(failures * count + $0) % all.count] }
        }
        return HostResolver.Addresses(v4: selected(v4), v6: selected(v6))
    }

    /// Those to which a connection may be made.
    fileprivate func allowed(by hop: RedirectPolicy.Hop, host: String) throws(PollFailure) -> HostResolver.Addresses {
        if hop.isTrusted { return self }
        let allowed = HostResolver.Addresses(
            v4: v4.filter { hop.allows(AddressReach($0)) }, v6: v6.filter { hop.allows(AddressReach($0)) })
        if allowed.v4.isEmpty, allowed.v6.isEmpty, let first = (v4 + v6).first { try hop.check(AddressReach(first), host: host) }
        return allowed
    }
}
