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
        try messages.start()
        let gates = (0..<4).map { _ in Gate() }
        for (gate, cost) in zip(gates, [500, 150, 5000, 10]) { messages.run(cost: cost) { gate.pass() } }
        try await wait(for: "the first two to begin") { gates[0].begun && gates[1].begun }
        #expect(budget.used == 650)
        #expect(!gates[2].begun)
        gates[1].open()
        // The cheap one comes before the costly one, for which there is no room.
        try await wait(for: "the fourth to begin") { gates[3].begun }
        gates[3].open()
        try await wait(for: "the fourth to end") { budget.used == 500 }
        #expect(!gates[2].begun)
        gates[0].open()
        try await wait(for: "the third to begin") { gates[2].begun }
        #expect(budget.used == 750)
        gates[2].open()
        try await wait(for: "all to end") { budget.used == 0 }
        await messages.end()
    }

    /// Both threads wait for their gates.
    private static func busy() async throws -> (LargeMessages, Gate, Gate) {
        let messages = LargeMessages(budget: ByteBudget(limit: ByteCount(1_000_000)))
        try messages.start()
        let (busy, first) = (Gate(), Gate())
        messages.run(cost: 1) { busy.pass() }
        messages.run(cost: 1) { first.pass() }
        try await wait(for: "both threads to be busy") { busy.begun && first.begun }
        return (messages, busy, first)
    }

    @Test("many messages for one app let those for others pass, and keep their order")
    func isFair() async throws {
        let (messages, busy, first) = try await Self.busy()
        let order = Names()
        let (a, b) = (try #require(AppName("a")), try #require(AppName("b")))
        for name in ["a1", "a2", "a3"] { messages.run(cost: 100, app: a) { order.append(name) } }
        messages.run(cost: 100, app: b) { order.append("b") }
        messages.run(cost: 90) { order.append("cheaper") }
        first.open()
        try await wait(for: "all") { order.all.count == 5 }
        #expect(order.all == ["cheaper", "a1", "b", "a2", "a3"])
        busy.open()
        await messages.end()
    }

    @Test("a costly message is decoded although cheap ones keep coming")
    func costlyIsDecoded() async throws {
        let (messages, busy, first) = try await Self.busy()
        let order = Names()
        messages.run(cost: 1000) { order.append("costly") }
        @Sendable func cheap() {
            messages.run(cost: 10) {
                order.append("cheap")
                if !order.all.contains("costly") { cheap() }
            }
        }
        cheap()
        first.open()
        try await wait(for: "the costly one") { order.all.contains("costly") }
        #expect(order.all.count < 300)
        busy.open()
        await messages.end()
    }

    private final class Names: Sendable {
        private let names = Mutex<[String]>([])
        var all: [String] { names.withLock { $0 } }
        func append(_ name: String) { names.withLock { $0.append(name) } }
    }

    @Test("after the end nothing is decoded, and nothing stays counted")
    func shutDown() async throws {
        let budget = ByteBudget()
        let messages = LargeMessages(budget: budget)
        try messages.start()
        await messages.end()
        let gate = Gate()
        messages.run(cost: 10) { gate.pass() }
        #expect(!gate.begun)
        #expect(budget.used == 0)
    }
}
