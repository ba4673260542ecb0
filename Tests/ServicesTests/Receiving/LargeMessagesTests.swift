import Dispatch
import NIOCore
import NIOEmbedded
import Proxy
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("LargeMessages")
struct LargeMessagesTests {
    /// A job that waits until it is told to end.
    private final class Gate: Sendable {
        private let opened = DispatchSemaphore(value: 0)
        private let hasBegun = Mutex(false)

        var begun: Bool { hasBegun.withLock { $0 } }
        func open() { opened.signal() }
        func pass() {
            hasBegun.withLock { $0 = true }
            opened.wait()
        }
    }

    @Test(
        "one large message is decoded whatever it costs, a second one only if it fits; a quarter is left to others, and none is forgotten")
    func costs() async throws {
        let budget = ByteBudget(limit: ByteCount(1000))
        let messages = LargeMessages(budget: budget)
        messages.start()
        let gates = (0..<4).map { _ in Gate() }
        for (gate, cost) in zip(gates, [500, 150, 5000, 10]) { messages.run(cost: cost) { gate.pass() } }
        try await wait(for: "the first two to begin") { gates[0].begun && gates[1].begun }
        #expect(budget.used == 650)
        #expect(!gates[2].begun)
        gates[1].open()
        try await wait(for: "the second to end") { budget.used == 500 }
        // There is a thread for it, but no room, and the one behind it does not overtake.
        #expect(!gates[2].begun && !gates[3].begun)
        gates[0].open()
        try await wait(for: "the third to begin") { gates[2].begun }
        #expect(budget.used == 750)
        gates[2].open()
        gates[3].open()
        try await wait(for: "all to end") { gates[3].begun && budget.used == 0 }
        await messages.shutDown()
    }

    @Test("after the end nothing is decoded, and nothing stays counted")
    func shutDown() async throws {
        let budget = ByteBudget()
        let messages = LargeMessages(budget: budget)
        messages.start()
        await messages.shutDown()
        let gate = Gate()
        messages.run(cost: 10) { gate.pass() }
        #expect(!gate.begun)
        #expect(budget.used == 0)
    }
}
