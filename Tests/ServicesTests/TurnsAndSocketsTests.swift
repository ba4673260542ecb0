import Dispatch
import HTTP
import Logging
import NIOCore
import NIOPosix
import Proxy
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("EventLoopTurns, with sockets")
struct TurnsAndSocketsTests {
    @Test("connections that always have more to do do not keep others from being accepted")
    func accepting() async throws {
        #expect(
            try await isAcceptedMeanwhile { loop, work in
                let turns = EventLoopTurns(loop)
                func next() {
                    turns.wait { if turns.take({ _ in work() }) ?? true { next() } }
                }
                for _ in 0..<3 { next() }
            })
    }

    /// Answers after some work, and notes the addresses of the peers in the order of the answers.
    private final class Work: Responder {
        let order = Mutex<[String]>([])

        func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
            // So long that reading the requests takes no time beside it.
            EventLoopTurnsTests.work(for: .milliseconds(20))
            order.withLock { $0.append(request.peer.address?.ipAddress ?? "") }
            return .now(.text(200, "done"))
        }
    }

    @Test("a request does not wait for the many that have come from another address")
    func requests() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let work = Work()
        let server = ScrapeServer(
            responder: work, metrics: SelfMetrics(version: "1", start: SystemClock.time()) { nil }, clock: SystemClock.time,
            maxConnections: 1000, group: group, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let listener = try server.bind(ListenAddress(host: "127.0.0.1", port: 0), settings: .patient)
        try await listener.listener.listen()
        listener.start()
        let many = try (0..<50).map { _ in try RawConnection(to: listener.listener.name) }
        let one = try RawConnection(to: listener.listener.name, from: "127.0.0.2")
        try await wait(for: "all connections") { listener.listener.openConnections == 51 }
        // All requests are there when the event loop looks at its sockets.
        let isHeld = Atomic(false)
        let isReleased = DispatchSemaphore(value: 0)
        group.any().execute {
            isHeld.store(true, ordering: .releasing)
            isReleased.wait()
        }
        try await wait(for: "the event loop to be held") { isHeld.load(ordering: .acquiring) }
        for connection in many + [one] { try connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") }
        isReleased.signal()
        try await wait(for: "all answers") { work.order.withLock { $0.count } == 51 }
        let place = work.order.withLock { $0.firstIndex(of: "127.0.0.2") }
        #expect(try #require(place) < 10)
        await listener.listener.drain(within: .zero)
        try await group.shutdownGracefully()
    }

    /// Connects to a socket of an event loop that has work for half a second to do.
    /// - Parameter begin: starts that work; it is given what to do in each turn, which says whether there is more.
    /// - Returns: whether the connection was accepted before the work was done.
    private func isAcceptedMeanwhile(
        _ begin: @escaping @Sendable (_ loop: any EventLoop, _ work: @escaping @Sendable () -> Bool) -> Void
    ) async throws -> Bool {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let hasAccepted = Mutex(false)
        let turns = Mutex(0)
        let server = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                hasAccepted.withLock { $0 = true }
                return channel.eventLoop.makeSucceededVoidFuture()
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let loop = server.eventLoop
        loop.execute {
            begin(loop) {
                EventLoopTurnsTests.work(for: .microseconds(400))
                return turns.withLock { turns in
                    turns += 1
                    return turns < 1000 && !hasAccepted.withLock { $0 }
                }
            }
        }
        try await wait(for: "the work to begin") { turns.withLock { $0 } > 0 }
        let client = try RawConnection(to: "127.0.0.1:\(server.localAddress?.port ?? 0)")
        try await wait(for: "the connection to be accepted") { hasAccepted.withLock { $0 } }
        let taken = turns.withLock { $0 }
        withExtendedLifetime(client) {}
        try await server.close()
        try await group.shutdownGracefully()
        return taken < 1000
    }
}
