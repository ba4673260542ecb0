import NIOCore
import NIOEmbedded
import Proxy
import Testing

@testable import Services

@Suite("EventLoopTurns")
struct EventLoopTurnsTests {
    /// Keeps the thread busy, as a turn of an event loop does.
    static func work(for time: TimeAmount) {
        let end = NIODeadline.now() + time
        while NIODeadline.now() < end {}
    }

    @Test("connections that act at once use up the loop's time; then the others wait until sockets had their turn")
    func allowance() {
        let loop = EmbeddedEventLoop()
        let turns = EventLoopTurns(loop)
        var taken = 0
        while taken < 1000, turns.take({ _ in Self.work(for: .milliseconds(1)) }) != nil { taken += 1 }
        #expect((1...4).contains(taken))
        var hasCome = false
        turns.wait { hasCome = true }
        // The event loop would run a task that is due at once before it looks at its sockets.
        loop.run()
        #expect(!hasCome)
        loop.advanceTime(by: .milliseconds(1))
        #expect(hasCome)
    }

    @Test("a connection that waits has its turn before one that comes again")
    func fairness() {
        let loop = EmbeddedEventLoop()
        let turns = EventLoopTurns(loop)
        var order: [Int] = []
        func work(_ connection: Int, times: Int) {
            turns.wait {
                turns.take { _ in Self.work(for: .milliseconds(1)) }
                order.append(connection)
                if times > 1 { work(connection, times: times - 1) }
            }
        }
        for connection in 0..<3 { work(connection, times: 3) }
        for _ in 0..<10 { loop.advanceTime(by: .milliseconds(1)) }
        #expect(order == [0, 1, 2, 0, 1, 2, 0, 1, 2])
    }

    @Test("peers take turns, however many turns one of them waits for")
    func peers() throws {
        let loop = EmbeddedEventLoop()
        let turns = EventLoopTurns(loop)
        var order = ""
        for (number, host) in [1, 1, 1, 1, 2].enumerated() {
            let peer = QueuePeer(try SocketAddress(ipAddress: "192.0.2.\(host)", port: 1))
            turns.wait(of: peer) { order += "\(host):\(number) " }
        }
        loop.advanceTime(by: .milliseconds(1))
        #expect(order == "1:0 2:4 1:1 1:2 1:3 ")
    }

    @Test("requests that have just arrived begin at once, until they have taken more than half of the time")
    func requests() {
        let turns = EventLoopTurns(EmbeddedEventLoop())
        var begun = 0
        while begun < 1000, turns.begin({ Self.work(for: .milliseconds(1)) }) { begun += 1 }
        #expect((1...4).contains(begun))
        Self.work(for: .milliseconds(10))
        #expect(turns.begin {})
        for _ in 0..<100 {
            let start = NIODeadline.now()
            let hasBegun = turns.begin { Self.work(for: .microseconds(10)) }
            #expect(hasBegun)
            // The thread may have lost its core meanwhile.
            Self.work(for: .now() - start)
        }
    }

    @Test("small steps wait for one turn of large steps in between, however many large ones wait")
    func largeSteps() {
        let loop = EmbeddedEventLoop()
        let turns = EventLoopTurns(loop)
        var order = ""
        func work(_ name: Character, isLarge: Bool) {
            turns.wait(forLargeSteps: isLarge) {
                turns.take { _ in Self.work(for: .milliseconds(1)) }
                order.append(name)
            }
        }
        for name in "ABCD" { work(name, isLarge: true) }
        for name in "ab" { work(name, isLarge: false) }
        for _ in 0..<10 { loop.advanceTime(by: .milliseconds(1)) }
        #expect(order == "AaBbCD")
    }

    @Test("turns that wait again and again do not keep the loop, whether they call `take` or not", arguments: [true, false])
    func endlessTurns(takes: Bool) {
        let loop = EmbeddedEventLoop()
        let turns = EventLoopTurns(loop)
        var count = 0
        func work() {
            count += 1
            if takes { turns.take { _ in Self.work(for: .microseconds(100)) } } else { Self.work(for: .microseconds(100)) }
            if count < 1000 { turns.wait(work) }
        }
        turns.wait(work)
        loop.advanceTime(by: .microseconds(100))
        #expect((1...11).contains(count))
        for _ in 0..<1000 { loop.advanceTime(by: .milliseconds(1)) }
        #expect(count == 1000)
    }

    @Test("a turn is over after a fraction of a millisecond")
    func length() {
        let turns = EventLoopTurns(EmbeddedEventLoop())
        let isOver = turns.take { turn in
            Self.work(for: .milliseconds(1))
            return turn.isOver
        }
        #expect(isOver == true)
    }

    @Test("each event loop has its own turns, and keeps them")
    func loops() {
        let loops = [EmbeddedEventLoop(), EmbeddedEventLoop()]
        let first = EventLoopTurns.OfGroup(loops[0])
        #expect(first[loops[0]] === first[loops[0]])
        #expect(first[loops[0]] !== first[loops[1]])
    }
}
