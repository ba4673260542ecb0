import Dispatch
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TLS
import TestSupport
import Testing

@testable import Proxy
@testable import Services

@Suite("Poller")
struct PollerTests {
    private let store = MetricStore()
    private let metrics = SelfMetrics(version: "1", start: SystemClock.time()) { nil }
    private let lines = LogLines()
    private let poller: Poller

    init() throws {
        poller = Poller(
            group: MultiThreadedEventLoopGroup.singleton, intake: Intake(store: store, clock: SystemClock.now), metrics: metrics,
            logger: lines.logger)
        try poller.startThreads()
    }

    private func polled(_ target: Target) throws -> PolledTarget { try PolledTarget(target: target, tls: nil, version: "test") }

    /// A target polled again and again.
    private func target(_ server: HTTPTarget, _ path: String = "/metrics", name: String = "app") throws -> Target {
        try Target(port: server.port, path: path, name: name).with { $0.interval = .milliseconds(50) }
    }

    private func start(_ targets: Target...) throws {
        poller.change(stopping: [], renaming: [], starting: try targets.map(polled))
    }

    private func text(_ name: String = "app") throws -> String? {
        try store.app(named: AppName.named(name)).map { String(buffer: $0.exposition.buffer) }
    }

    /// Runs `body` with a server, and ends every poll afterwards.
    private func with(
        oneAtATime: Bool = false, answer: @escaping @Sendable (HTTPTarget.Request) -> [HTTPTarget.Step],
        _ body: (HTTPTarget) async throws -> Void
    ) async throws {
        try await HTTPTarget.with(oneAtATime: oneAtATime, answer: answer) { server in
            do {
                try await body(server)
            } catch {
                try await poller.end().get()
                throw error
            }
            try await poller.end().get()
            try await eventually { server.openConnections == 0 }
            #expect(metrics.held[.polling].used == 0)
        }
    }

    @Test("a target is polled again and again, on one connection")
    func polls() async throws {
        try await with(answer: { _ in [.respond("a 1\n")] }) { server in
            try start(target(server))
            try await eventually { server.requests.count >= 3 && poller.hasPolledAll }
            #expect(try text() == "a 1\n")
            #expect(server.connections == 1)
        }
    }

    @Test("a body too large for an event loop is decoded and recorded all the same")
    func largeBody() async throws {
        let body = String(repeating: "metric_with_a_long_name{label=\"value\"} 12345\n", count: 20_000)
        #expect(body.utf8.count > BodyBytes.smallSize)
        try await with(answer: { _ in [.respond(body)] }) { server in
            try start(target(server))
            try await eventually { try text() == body }
            try await eventually { server.requests.count >= 2 }
        }
    }

    @Test("what is plainly HTML fails, until the setting says that nothing is looked at")
    func otherFormats() async throws {
        try await with(answer: { _ in [.respond("<html></html>")] }) { server in
            try start(target(server))
            try await eventually { lines.all.contains { $0.contains("looks like HTML") } }
            #expect(try text() != "<html></html>\n")
            poller.setRefusesOtherFormats(false)
            try await eventually { try text() == "<html></html>\n" }
        }
    }

    @Test("a target that is stopped while it is polled is cut off, and nothing is recorded")
    func stopInFlight() async throws {
        try await with(answer: { _ in [.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na ")] }) {
            server in
            let target = try target(server)
            try start(target)
            try await eventually { server.requests.count == 1 }
            poller.change(stopping: [target.url], renaming: [], starting: [])
            try await eventually { server.openConnections == 0 }
            #expect(try text() == nil)
            #expect(server.requests.count == 1 && poller.hasPolledAll)
        }
    }

    @Test("a target that is replaced while it is polled is polled anew, with its new settings")
    func replaceInFlight() async throws {
        try await with(answer: { $0.headers["x-new"] == nil ? [] : [.respond("new 1\n")] }) { server in
            let target = try target(server)
            try start(target)
            try await eventually { server.requests.count == 1 }
            #expect(!poller.hasPolledAll)
            try start(target.with { $0.headers = [.init(name: "X-New", value: "1")] })
            try await eventually { try text() == "new 1\n" && poller.hasPolledAll }
            // The connection of the poll that was cut off is closed.
            try await eventually { server.openConnections == 1 }
            #expect(server.requests.count { $0.headers["x-new"] == nil } == 1)
            #expect(!lines.all.contains { $0.contains("failing") })
        }
    }

    @Test("a target that is renamed keeps its connection and its metrics")
    func rename() async throws {
        try await with(answer: { _ in [.respond("a 1\n")] }) { server in
            let target = try target(server)
            try start(target)
            try await eventually { try text() == "a 1\n" }
            let name = try AppName.named("other")
            poller.change(stopping: [], renaming: [target.with { $0.name = name }], starting: [])
            #expect(try text() == nil)
            #expect(try text("other") == "a 1\n")
            let count = server.requests.count
            try await eventually { server.requests.count > count }
            #expect(server.connections == 1)
        }
    }

    @Test("targets of one server that serves one connection at a time are all polled")
    func oneAtATime() async throws {
        try await with(oneAtATime: true, answer: { [.respond("\($0.path.dropFirst()) 1\n")] }) { server in
            let names = ["a", "b", "c", "d"]
            poller.change(
                stopping: [], renaming: [], starting: try names.map { try polled(target(server, "/\($0)", name: $0)) })
            for name in names {
                try await eventually { try text(name) == "\(name) 1\n" }
                try await eventually { server.requests.count { $0.path == "/\(name)" } >= 3 }
            }
            #expect(!lines.all.contains { $0.contains("failing") })
        }
    }

    @Test("one line when a target fails, one when it answers again")
    func health() async throws {
        let polls = Counter()
        try await with(answer: { _ in (1..<4).contains(polls.next()) ? [.respond("", status: "503 X")] : [.respond("a 1\n")] }) { server in
            try start(target(server))
            try await eventually { lines.all.contains { $0.contains("answers again") } }
            #expect(lines.all.count { $0.contains("failing") } == 1)
            #expect(lines.all.contains { $0.contains("status 503 X") })
        }
    }

    @Test("after the end nothing is polled")
    func shutdown() async throws {
        try await with(answer: { _ in [.respond("a 1\n")] }) { server in
            try start(target(server))
            try await eventually { server.requests.count >= 1 }
            try await poller.end().get()
            try start(target(server, "/other", name: "other"))
            #expect(server.requests.allSatisfy { $0.path == "/metrics" })
        }
    }

    @Test("a target that is stopped while it waits for its proxy is disconnected from that at once")
    func stopInATunnel() async throws {
        try await with(answer: { _ in [] }) { proxy in
            let context = ClientContext(TLSClientSettings(trustRoots: .system(SystemAuthorities())))
            let target = try Target(port: 1, timeout: .seconds(60)).with {
                $0.url.origin = .https(host: "target.test", port: 443)
                $0.proxyURL = HTTPProxy(host: "127.0.0.1", port: proxy.port)
            }
            let tls = TargetTLS(own: context, foreign: context, serverName: nil)
            poller.change(stopping: [], renaming: [], starting: [try PolledTarget(target: target, tls: tls, version: "test")])
            try await eventually { proxy.requests.count == 1 }
            poller.change(stopping: [target.url], renaming: [], starting: [])
            try await eventually { proxy.openConnections == 0 }
        }
    }

    @Test("a stop while a host name is looked up is no failure of the target")
    func shutdownWhileResolving() async throws {
        let hasBegun = Atomic(false)
        let mayEnd = DispatchSemaphore(value: 0)
        defer { mayEnd.signal() }
        let resolver = HostResolver { _ in
            hasBegun.store(true, ordering: .relaxed)
            mayEnd.wait()
            return .failure(.init(reason: "late"))
        }
        let poller = Poller(
            group: MultiThreadedEventLoopGroup.singleton, intake: Intake(store: store, clock: SystemClock.now), metrics: metrics,
            logger: lines.logger, resolver: resolver)
        try poller.startThreads()
        let target = try Target(port: 1).with { $0.url.origin = .http(host: "slow.test", port: 80) }
        poller.change(stopping: [], renaming: [], starting: [try polled(target)])
        try await eventually { hasBegun.load(ordering: .relaxed) }
        try await poller.end().get()
        #expect(!lines.all.contains { $0.contains("failing") }, "\(lines.all)")
    }

    @Test("the end of a client certificate is told of https targets alone: no other target is shown it")
    func certificateEnd() async throws {
        let ca = try ThrowawayCA()
        let certificate = try ca.clientCertificate()
        let context = ClientContext(
            TLSClientSettings(
                trustRoots: .certificates(Array(ca.certificatePEM.utf8)), certificateChain: Array(certificate.chainPEM.utf8),
                privateKey: Array(certificate.privateKeyPEM.utf8)))
        let made = try context.get()
        let notAfter = try #require(made.certificate?.notAfter)
        let tls = TargetTLS(own: context, foreign: context, serverName: nil)
        let port = try reservePort()
        let plain = try Target(port: port, name: "plain")
        let encrypted = try Target(port: port, name: "encrypted").with { $0.url.origin = .https(host: "127.0.0.1", port: port) }
        poller.change(
            stopping: [], renaming: [],
            starting: try [plain, encrypted].map { try PolledTarget(target: $0, tls: tls, version: "test") })
        try await poller.end().get()
        #expect(metrics.addTarget(encrypted).sample().certificateNotAfter == notAfter)
        #expect(metrics.addTarget(plain).sample().certificateNotAfter == nil)
    }

    @Test("a target whose TLS contexts are other ones is polled anew with them, also if its configuration is the same")
    func otherContexts() async throws {
        try await with(answer: { _ in [.respond("a 1\n")] }) { server in
            var config = Config()
            config.poll.targets = [try target(server)]
            let loaded = LoadedConfig(config: config, origin: ConfigOrigin(file: "config.toml"))
            let first = try PreparedConfig(loaded)
            try poller.prepare(first, ReloadPlan(from: nil, to: loaded)).commit()
            try await eventually { server.requests.count >= 2 }
            let unchanged = ReloadPlan(from: loaded, to: loaded)
            try poller.prepare(PreparedConfig(loaded, replacing: first.contexts), unchanged).commit()
            let count = server.requests.count
            try await eventually { server.requests.count > count }
            #expect(server.connections == 1)
            // As after a change of the system's authorities.
            try poller.prepare(PreparedConfig(loaded), unchanged).commit()
            try await eventually { server.connections == 2 }
            #expect(try text() == "a 1\n")
        }
    }

    @Test("the terms of a kept connection hold its TLS context, so that no later one gets the same address")
    func terms() throws {
        func terms(_ context: ClientContext) throws -> PolledTarget.ConnectionTerms {
            let target = try Target(port: 1).with { $0.url.origin = .https(host: "target.test", port: 443) }
            let tls = TargetTLS(own: context, foreign: context, serverName: nil)
            return try PolledTarget(target: target, tls: tls, version: "test").connectionTerms
        }
        func context() -> ClientContext { ClientContext(TLSClientSettings(trustRoots: .system(SystemAuthorities()))) }
        weak var held: ClientContext?
        let kept: PolledTarget.ConnectionTerms
        do {
            let own = context()
            held = own
            kept = try terms(own)
        }
        let own = try #require(held)
        #expect(try terms(own) == kept)
        #expect(try terms(context()) != kept)
    }
}
