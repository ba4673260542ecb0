import NIOCore
import NIOEmbedded
import Testing

@testable import Services

@Suite("EventLoopTurns")
struct EventLoopTurnsTests {
    @Test("connections with more to do are served in turn, and not before the sockets are looked at again")
    func order() {
        let loop = EmbeddedEventLoop()
        let turns = EventLoopTurns()
        let log = NIOLoopBoundBox<[String]>([], eventLoop: loop)
        func work(_ name: String, times: Int) {
            turns.wait(on: loop) {
                log.value.append(name)
                if times > 1 { work(name, times: times - 1) }
            }
        }
        work("a", times: 3)
        work("b", times: 2)
        // A task that is due at once would be run before the sockets are looked at.
        loop.run()
        #expect(log.value == [])
        for _ in 0..<10 { loop.advanceTime(by: .milliseconds(1)) }
        #expect(log.value == ["a", "b", "a", "b", "a"])
    }

    @Test("each event loop has turns of its own")
    func loops() {
        let turns = EventLoopTurns()
        let loops = [EmbeddedEventLoop(), EmbeddedEventLoop()]
        let count = NIOLoopBoundBox(0, eventLoop: loops[0])
        turns.wait(on: loops[0]) { count.value += 1 }
        turns.wait(on: loops[1]) {}
        loops[1].advanceTime(by: .seconds(1))
        #expect(count.value == 0)
        loops[0].advanceTime(by: .seconds(1))
        #expect(count.value == 1)
    }
}
