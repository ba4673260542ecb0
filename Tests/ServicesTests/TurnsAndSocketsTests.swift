import NIOCore
import NIOPosix
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
