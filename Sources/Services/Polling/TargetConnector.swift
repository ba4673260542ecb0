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

    /// A TLS context, and the name that is sent and verified.
    private typealias TLS = (context: TLSContext, name: String)

    /// Opens a connection for `hop`.
    /// - Parameters:
    ///   - deadline: of the poll.
    ///   - entered: called with each new phase.
    ///   - opened: called once, unless the deadline passes. A TLS handshake may still be under way then.
    func open(
        _ hop: RedirectPolicy.Hop, until deadline: NIODeadline, entered: @escaping (PollFailure.Phase) -> Void, opened: @escaping Opened
    ) {
        switch hop.url.origin {
        case .unix(let path):
            take(bootstrap { try add(to: $0, nil, reach: .host) }.connect(unixDomainSocketPath: path), opened)
        case .http(let host, let port):
            open(hop, host, port, nil, until: deadline, entered, opened)
        case .https(let host, let port):
            prepareTLS(for: hop, host: host) { result in
                switch result {
                case .success(let tls): open(hop, host, port, tls, until: deadline, entered, opened)
                case .failure(let failure): opened(.failure(failure))
                }
            }
        }
    }

    private func open(
        _ hop: RedirectPolicy.Hop, _ host: String, _ port: UInt16, _ tls: TLS?, until deadline: NIODeadline,
        _ entered: @escaping (PollFailure.Phase) -> Void, _ opened: @escaping Opened
    ) {
        if let proxy = polled.target.proxyURL {
            return open(hop, host: host, tls, through: proxy, until: deadline, entered, opened)
        }
        resolve(host, until: deadline, entered) { result in
            do throws(PollFailure) {
                let addresses = try result.get().allowed(by: hop, host: host)
                take(connect(to: addresses, host, port, bootstrap { try add(to: $0, tls, reach: nil) }), opened)
            } catch {
                opened(.failure(error))
            }
        }
    }

    // MARK: - Through a proxy

    private func open(
        _ hop: RedirectPolicy.Hop, host: String, _ tls: TLS?, through proxy: HTTPProxy, until deadline: NIODeadline,
        _ entered: @escaping (PollFailure.Phase) -> Void, _ opened: @escaping Opened
    ) {
        // The proxy looks up names, so only an address that is written in the URL is known here.
        let reach = AddressReach(host: host)
        do throws(PollFailure) { try hop.check(reach, host: host) } catch { return opened(.failure(error)) }
        let opened: Opened = { opened($0.mapError { .proxy("\(proxy): \($0)") }) }
        resolve(proxy.host, until: deadline, entered) { result in
            let addresses: HostResolver.Addresses
            do throws(PollFailure) { addresses = try result.get() } catch { return opened(.failure(error)) }
            guard let tls else {
                return take(connect(to: addresses, proxy.host, proxy.port, bootstrap { try add(to: $0, nil, reach: reach) }), opened)
            }
            let channel = connect(to: addresses, proxy.host, proxy.port, bootstrap { _ in })
            channel.assumeIsolated().whenComplete { result in
                do {
                    entered(.tunnel)
                    let channel = try result.get()
                    let request = polled.request.tunnelRequest(to: hop.url.origin)
                    let handler = TunnelHandler(request, on: channel.eventLoop, until: deadline) { failure in
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

    private func bootstrap(_ prepare: @escaping @Sendable (any Channel) throws -> Void) -> ClientBootstrap {
        ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(polled.target.timeout))
            .channelOption(.recvAllocator, value: PassingReadBuffers.ofPolls)
            .channelOption(.maxMessagesPerRead, value: PassingReadBuffers.readsAtOnce)
            .channelInitializer { channel in channel.eventLoop.makeCompletedFuture { try prepare(channel) } }
    }

    /// The most addresses of a name that are tried, of each family.
    static let maxAddresses = 2

    private func connect(
        to addresses: HostResolver.Addresses, _ host: String, _ port: UInt16, _ bootstrap: ClientBootstrap
    ) -> EventLoopFuture<any Channel> {
        // A quarter of a second after each attempt the next address is tried, and a silent one keeps its descriptor until the timeout.
        let addresses = HostResolver.Addresses(
            v4: Array(addresses.v4.prefix(Self.maxAddresses)), v6: Array(addresses.v6.prefix(Self.maxAddresses)))
        let all = addresses.v4 + addresses.v6
        if all.count == 1 { return bootstrap.connect(to: all[0].withPort(Int(port))) }
        return bootstrap.resolver(ResolvedAddresses(addresses: addresses, eventLoop: eventLoop)).connect(host: host, port: Int(port))
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

/// Asks an HTTP proxy for a tunnel, and then leaves the pipeline to the handlers that use it. It carries out the actions of `ClientTunnel`.
private final class TunnelHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var tunnel = ClientTunnel()
    private let request: ByteBuffer
    private let deadline: NIODeadline
    private lazy var timer = DeadlineTimer(eventLoop: eventLoop) { [weak self] in self?.expire() }
    private let eventLoop: any EventLoop
    private var context: ChannelHandlerContext?
    private var opened: ((PollFailure?) -> Void)?

    /// - Parameters:
    ///   - deadline: if the tunnel is not open by then, the channel is closed.
    ///   - opened: called once, with the reason if there is no tunnel, unless the deadline passes.
    init(_ request: ByteBuffer, on eventLoop: any EventLoop, until deadline: NIODeadline, opened: @escaping (PollFailure?) -> Void) {
        self.request = request
        self.deadline = deadline
        self.opened = opened
        self.eventLoop = eventLoop
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        guard context.channel.isActive else { return fail(nil) }
        timer.set(deadline)
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

    /// The poll has the same deadline, and its client reports the timeout.
    private func expire() {
        opened = nil
        context?.close(promise: nil)
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
        timer.stop()
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
        throw .invalidRedirect("\(host) is \(reach.words); only a target that is at such an address itself may lead there")
    }
}

extension HostResolver.Addresses {
    /// Those to which a connection may be made.
    fileprivate func allowed(by hop: RedirectPolicy.Hop, host: String) throws(PollFailure) -> HostResolver.Addresses {
        if hop.isTrusted { return self }
        let allowed = HostResolver.Addresses(
            v4: v4.filter { hop.allows(AddressReach($0)) }, v6: v6.filter { hop.allows(AddressReach($0)) })
        if allowed.v4.isEmpty, allowed.v6.isEmpty, let first = (v4 + v6).first { try hop.check(AddressReach(first), host: host) }
        return allowed
    }
}
