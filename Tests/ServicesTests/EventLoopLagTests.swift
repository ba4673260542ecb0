import Foundation
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Services

@Suite("EventLoopLag")
struct EventLoopLagTests {
    @Test("the largest value of the last minute is kept, and leaves a few seconds after it")
    func recentMaximum() {
        let start = NIODeadline.uptimeNanoseconds(7_000_000_000_000)
        var maximum = RecentMaximum()
        #expect(maximum.value(at: start) == .zero)
        maximum.record(.milliseconds(5), at: start)
        maximum.record(.milliseconds(3), at: start)
        maximum.record(.milliseconds(4), at: start + .seconds(30))
        #expect(maximum.value(at: start + .seconds(30)) == .milliseconds(5))
        #expect(maximum.value(at: start + .seconds(59)) == .milliseconds(5))
        #expect(maximum.value(at: start + .seconds(67)) == .milliseconds(4))
        #expect(maximum.value(at: start + .seconds(97)) == .zero)
        // A slot that is used again forgets what it held.
        maximum.record(.milliseconds(1), at: start + .seconds(66))
        #expect(maximum.value(at: start + .seconds(97)) == .milliseconds(1))
    }

    @Test("a loop that is stuck is seen while it is, and remembered afterwards")
    func stuck() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let lag = EventLoopLag(group)
        let release = DispatchSemaphore(value: 0)
        group.next().execute { release.wait() }
        let stuck = TimeAmount.milliseconds(500)
        do {
            try await wait(for: "the delay to be seen") { lag.longest() >= stuck }
        } catch {
            release.signal()
            throw error
        }
        release.signal()
        // Both loops have run something since.
        for _ in 0..<2 { try await group.next().submit {}.get() }
        #expect(lag.longest() >= stuck)
        try await group.shutdownGracefully()
    }
}
