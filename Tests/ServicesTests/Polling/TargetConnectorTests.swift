import Dispatch
import NIOCore
import Proxy
import Synchronization
import TLS
import TestSupport
import Testing

@testable import Services

@Suite("TargetConnector")
struct TargetConnectorTests {
    private func connector(
        to target: Target, tls: TargetTLS? = nil, on eventLoop: any EventLoop, resolver: HostResolver = HostResolver()
    ) throws -> TargetConnector {
        let pool = PollingPool(budget: ByteBudget())
        try pool.start()
        return TargetConnector(
            polled: try PolledTarget(target: target, tls: tls, version: "test"), eventLoop: eventLoop, resolver: resolver, pool: pool)
    }

    /// Opens a connection to where a redirect leads, after servers whose addresses reach as far as `way`.
    /// - Returns: the failure, or `nil` when there was a connection.
    private func open(
        _ location: String, after way: AddressReach, through proxy: HTTPProxy? = nil, resolver: HostResolver = HostResolver()
    ) async throws -> PollFailure? {
        var redirects = RedirectPolicy(target: TargetURL(origin: .http(host: "target.test", port: 80), pathAndQuery: "/"))
        redirects.reached(way)
        let hop = try redirects.follow(location)
        let target = try Target(port: 1).with { $0.proxyURL = proxy }
        let eventLoop = try await SharedContext().eventLoop
        let connector = try connector(to: target, on: eventLoop, resolver: resolver)
        let promise = eventLoop.makePromise(of: PollFailure?.self)
        eventLoop.execute {
            connector.open(hop, as: ConnectionAttempt(until: .now() + .seconds(20))) { _ in
            } opened: { result in
                switch result {
                case .success(let connection):
                    connection.close()
                    promise.succeed(nil)
                case .failure(let failure):
                    promise.succeed(failure)
                }
            }
        }
        return try await promise.futureResult.get()
    }

    @Test(
        "a redirect from elsewhere to this host is not followed, however it is written",
        arguments: ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"])
    func loopback(host: String) async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("secret 1\n")] }) { server in
            let failure = try await open("http://\(host):\(server.port)/", after: .network)
            let words = failure?.description ?? "followed"
            #expect(words.hasPrefix("redirect not followed: "), "\(words)")
            #expect(
                words.hasSuffix(" is a loopback address; only a server that is at such an address itself may lead there"), "\(words)")
            #expect(server.connections == 0)
        }
    }

    @Test(
        "nor through a proxy, which would open the connection for it",
        arguments: ["127.0.0.1", "localhost", "localhost.", "app.localhost", "app.localhost.", "0.0.0.0", "[::1]"])
    func loopbackThroughAProxy(host: String) async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("secret 1\n")] }) { proxy in
            let failure = try await open(
                "http://\(host):80/", after: .network, through: HTTPProxy(host: "127.0.0.1", port: proxy.port))
            #expect(failure?.description.contains(" is a loopback address; ") == true, "\(String(describing: failure))")
            #expect(proxy.connections == 0)
        }
    }

    @Test("a proxy that does not answer keeps no connection beyond the deadline")
    func silentProxy() async throws {
        try await HTTPTarget.with(answer: { _ in [] }) { proxy in
            let context = ClientContext(TLSClientSettings(trustRoots: .system(SystemAuthorities())))
            let target = try Target(port: 1, timeout: .seconds(3)).with {
                $0.url.origin = .https(host: "target.test", port: 443)
                $0.proxyURL = HTTPProxy(host: "127.0.0.1", port: proxy.port)
            }
            try await withClient(target, tls: TargetTLS(own: context, foreign: context, serverName: nil)) { client in
                try await client.expect(failure: "timed out after 3s while waiting for the proxy")
                #expect(proxy.requests.map(\.line) == ["CONNECT target.test:443 HTTP/1.1"])
                try await eventually { proxy.openConnections == 0 }
            }
        }
    }

    @Test("a proxy that closes the connection instead of an answer to CONNECT is named as the one that did")
    func closingProxy() async throws {
        try await HTTPTarget.with(answer: { _ in [.close] }) { proxy in
            let context = ClientContext(TLSClientSettings(trustRoots: .system(SystemAuthorities())))
            let target = try Target(port: 1).with {
                $0.url.origin = .https(host: "target.test", port: 443)
                $0.proxyURL = HTTPProxy(host: "127.0.0.1", port: proxy.port)
            }
            try await withClient(target, tls: TargetTLS(own: context, foreign: context, serverName: nil)) { client in
                try await client.expect(
                    failure: "proxy_url: http://127.0.0.1:\(proxy.port): connection closed by the proxy before it answered CONNECT")
            }
        }
    }

    @Test("an error at the beginning of TLS in a tunnel is told at once")
    func errorAtTheBeginningOfTLS() async throws {
        try await HTTPTarget.with(answer: { _ in [.send(Array("HTTP/1.1 200 OK\r\n\r\n".utf8))] }) { proxy in
            let context = ClientContext(TLSClientSettings(trustRoots: .system(SystemAuthorities())))
            let target = try Target(port: 1).with {
                $0.url.origin = .https(host: "target.test", port: 443)
                $0.proxyURL = HTTPProxy(host: "127.0.0.1", port: proxy.port)
            }
            try await withClient(target, tls: TargetTLS(own: context, foreign: context, serverName: ".")) { client in
                try await client.expect(failure: "certificate not trusted: \".\" is not a name that a certificate can be checked for")
            }
        }
    }

    @Test("an attempt that is cancelled closes its tunnel")
    func cancelledTunnel() async throws {
        try await HTTPTarget.with(answer: { _ in [] }) { proxy in
            let context = ClientContext(TLSClientSettings(trustRoots: .system(SystemAuthorities())))
            let target = try Target(port: 1).with {
                $0.url.origin = .https(host: "target.test", port: 443)
                $0.proxyURL = HTTPProxy(host: "127.0.0.1", port: proxy.port)
            }
            let eventLoop = try await SharedContext().eventLoop
            let tls = TargetTLS(own: context, foreign: context, serverName: nil)
            let connector = try connector(to: target, tls: tls, on: eventLoop)
            let attempt = try await eventLoop.submit {
                let attempt = ConnectionAttempt(until: .now() + .minutes(5))
                connector.open(RedirectPolicy.Hop(url: target.url, isTrusted: true), as: attempt) { _ in
                } opened: { _ in
                }
                return NIOLoopBound(attempt, eventLoop: eventLoop)
            }.get()
            try await wait(for: "the request for a tunnel") { proxy.requests.count == 1 }
            try await eventLoop.flatSubmit { EventLoopFuture.andAllComplete(attempt.value.cancel(), on: eventLoop) }.get()
            try await wait(for: "the end of the connection") { proxy.openConnections == 0 }
        }
    }

    @Test("a name that is found after the deadline opens no connection")
    func lateName() async throws {
        let found = DispatchSemaphore(value: 0)
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 0)
        let resolver = HostResolver { _ in
            found.wait()
            return .success(.init(v4: [address]))
        }
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            let target = try Target(port: 1).with { $0.url.origin = .http(host: "late.test", port: server.port) }
            let eventLoop = try await SharedContext().eventLoop
            let connector = try connector(to: target, on: eventLoop, resolver: resolver)
            let phases = Mutex<[PollFailure.Phase]>([])
            let deadline = NIODeadline.now() + .milliseconds(20)
            try await eventLoop.submit {
                connector.open(RedirectPolicy.Hop(url: target.url, isTrusted: true), as: ConnectionAttempt(until: deadline)) { phase in
                    phases.withLock { $0.append(phase) }
                } opened: { _ in
                }
            }.get()
            // It shares the lookup, and gets the answer after the connector.
            let answer = resolver.resolve("late.test", on: eventLoop, until: .now() + .minutes(5))
            try await wait(for: "the deadline to pass") { NIODeadline.now() > deadline }
            found.signal()
            _ = try await answer.get()
            let entered = phases.withLock { $0 }
            #expect(entered == [.resolving])
            #expect(server.connections == 0)
        }
    }

    @Test("a name counts by the addresses that it has now; only those elsewhere are tried")
    func names() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("secret 1\n")] }) { server in
            let port = Int(server.port)
            let inside = try SocketAddress(ipAddress: "127.0.0.1", port: port)
            let link = try SocketAddress(ipAddress: "fe80::1", port: port)
            let resolver = HostResolver { host in .success(host == "link.test" ? .init(v6: [link]) : .init(v4: [inside])) }
            let toInside = try await open("http://inside.test:\(port)/", after: .link, resolver: resolver)
            #expect(
                toInside
                    == .invalidRedirect(
                        "inside.test is a loopback address; only a server that is at such an address itself may lead there"))
            let toLink = try await open("http://link.test:\(port)/", after: .network, resolver: resolver)
            #expect(
                toLink
                    == .invalidRedirect(
                        "link.test is a link-local address; only a server that is at such an address itself may lead there"))
            #expect(server.connections == 0)
            let fromInside = try await open("http://inside.test:\(port)/", after: .host, resolver: resolver)
            #expect(fromInside == nil)
            try await eventually { server.connections == 1 }
        }
    }

    @Test("from this host, a redirect leads anywhere on it")
    func fromLoopback() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            let failure = try await open("http://localhost:\(server.port)/", after: .host)
            #expect(failure == nil)
        }
    }
}
