import Glibc
import Logging
import NIOCore
import NIOPosix
import Proxy
import TestSupport
import Testing

@testable import Services

/// One receiver on a loop of its own.
private func withReceiver(
    at address: Receiver.Address = .tcp(ListenAddress(host: "127.0.0.1", port: 0)),
    _ body: (Receiver, MetricStore, any EventLoop) async throws -> Void
) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let store = MetricStore()
    let receiver = try Receiver(
        binding: address, settings: ReceiverSettings(Config(), transport: .off), maxConnections: 10,
        intake: Intake(store: store, clock: SystemClock.now),
        metrics: SelfMetrics(version: "1", start: SystemClock.time()) { nil },
        decoding: PushDecoding(turns: EventLoopTurns.OfGroup(group), largeMessages: LargeMessages(budget: ByteBudget())), group: group,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    do {
        try await body(receiver, store, group.next())
    } catch {
        await receiver.listener.drain(within: .zero)
        try await group.shutdownGracefully()
        throw error
    }
    await receiver.listener.drain(within: .zero)
    try await group.shutdownGracefully()
}

@Suite("Listener")
struct ListenerTests {
    @Test("bound it refuses connections, listening it lets them wait, started it accepts them")
    func steps() async throws {
        try await withReceiver { receiver, store, _ in
            let address = receiver.listener.name
            #expect(throws: (any Error).self) { try RawConnection(to: address) }
            try await receiver.listener.listen()
            let push = try RawConnection(to: address)
            try push.send(#"{"app": "x 1"}"#)
            push.endOutput()
            #expect(try !push.isEnded)
            #expect(receiver.listener.openConnections == 0)
            receiver.start()
            #expect(try await push.receiveToEnd() == "")
            #expect(store.snapshot(at: SystemClock.now()).entries.count == 1)
        }
    }

    @Test("hundreds of connections wait before it starts")
    func queue() async throws {
        try await withReceiver { receiver, _, _ in
            try await receiver.listener.listen()
            let port = try #require(receiver.listener.port)
            let address = try SocketAddress(ipAddress: "127.0.0.1", port: Int(port))
            let clients = (0..<300).map { _ in
                let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
                _ = address.withSockAddr { connect(descriptor, $0, socklen_t($1)) }
                return pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            }
            defer { for client in clients { close(client.fd) } }
            try await wait(for: "all to be connected") {
                var clients = clients
                return poll(&clients, nfds_t(clients.count), 0) == clients.count && clients.allSatisfy { $0.revents == Int16(POLLOUT) }
            }
        }
    }

    @Test("one that is closed before it starts, bound or listening, leaves its port", arguments: [true, false])
    func abandon(listens: Bool) async throws {
        try await withReceiver { receiver, _, _ in
            if listens { try await receiver.listener.listen() }
            await receiver.listener.drain(within: .zero)
            #expect(throws: (any Error).self) { try RawConnection(to: receiver.listener.name) }
        }
    }

    @Test("who waits to be accepted when it closes is served, not reset")
    func waiting() async throws {
        try await withReceiver { receiver, store, _ in
            try await receiver.listener.listen()
            let pushes = try (0..<15).map { index in
                let push = try RawConnection(to: receiver.listener.name)
                try push.send("{\"app\(index)\": \"x 1\"}")
                push.endOutput()
                return push
            }
            // The limit is ten: the rest is accepted as those end, while it closes.
            receiver.start()
            #expect(await receiver.listener.drain(within: .seconds(60)) == 0)
            for push in pushes { #expect(try await push.receiveToEnd() == "") }
        }
    }

    @Test("after a change of access a message in flight is taken, and what was begun since is not")
    func lastExchange() async throws {
        try await withReceiver { receiver, store, eventLoop in
            let push = try await begin(receiver, store)
            receiver.listener.changeAccess(within: .seconds(3600)) {}
            // The connection has heard of it by the end of what its event loop had to do.
            try await eventLoop.submit {}.get()
            try push.send(#""x 2"} {"more": "#)
            #expect(try await push.receiveToEnd() == "error: \(Rejection.accessChanged.line)\n")
            #expect(store.snapshot(at: SystemClock.now()).entries.map(\.name.description) == ["begun", "cut"])
        }
    }

    @Test("after a change of access every connection ends within a limit")
    func longLastExchange() async throws {
        try await withReceiver { receiver, store, _ in
            let push = try await begin(receiver, store)
            receiver.listener.changeAccess(within: .milliseconds(10)) {}
            #expect(try await push.receiveToEnd() == "error: \(Rejection.timedOut(.closing).line)\n")
            #expect(store.snapshot(at: SystemClock.now()).entries.count == 1)
        }
    }

    /// A connection in the middle of its second message.
    private func begin(_ receiver: Receiver, _ store: MetricStore) async throws -> RawConnection {
        try await receiver.listener.listen()
        receiver.start()
        let push = try RawConnection(to: receiver.listener.name)
        try push.send(#"{"begun": "x 1"} {"cut": "#)
        try await wait(for: "it to have begun") { store.snapshot(at: SystemClock.now()).entries.count == 1 }
        return push
    }

    @Test("a new socket whose file vanishes before it takes the place of the old one is closed")
    func lostAgain() async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("r.sock")
            try await withReceiver(at: .unix(UnixSocketConfig(path: path))) { receiver, _, _ in
                let listener = receiver.listener
                try await listener.listen()
                try listener.publish()
                receiver.start()
                try #require(unlink(path) == 0)
                let pending = try #require(try listener.bindLostFile())
                let made = identity(of: pending.descriptor)
                try #require(made != nil)
                try #require(unlink(path) == 0)
                await #expect(throws: ListenError.self) { try await listener.replaceSocket(by: pending) }
                // Another test may have the descriptor's number by now.
                #expect(identity(of: pending.descriptor) != made)
            }
        }
    }

    /// `nil` when the descriptor is not open.
    private func identity(of descriptor: CInt) -> FileIdentity? {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? FileIdentity(status) : nil
    }

    @Test("a drain under way can be hastened by another")
    func drainAgain() async throws {
        try await withReceiver { receiver, store, _ in
            let push = try await begin(receiver, store)
            async let first = receiver.listener.drain(within: .seconds(3600))
            #expect(await receiver.listener.drain(within: .milliseconds(10)) == 1)
            #expect(await first == 0)
            #expect(try await push.receiveToEnd() == "error: \(Rejection.timedOut(.closing).line)\n")
        }
    }
}
