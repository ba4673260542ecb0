import NIOCore
import NIOEmbedded
import Testing

@testable import Services

@Suite("DeadlineTimer")
struct DeadlineTimerTests {
    private final class Expiries {
        var count = 0
    }

    private let loop = EmbeddedEventLoop()
    private let expiries = Expiries()

    private func timer() -> DeadlineTimer { DeadlineTimer(eventLoop: loop) { [expiries] in expiries.count += 1 } }

    @Test("it expires once, at its time and not before")
    func once() {
        let timer = timer()
        timer.set(.seconds(5))
        loop.advanceTime(by: .milliseconds(4999))
        #expect(expiries.count == 0)
        loop.advanceTime(by: .milliseconds(1))
        #expect(expiries.count == 1)
        loop.advanceTime(by: .seconds(60))
        #expect(expiries.count == 1)
        timer.stop()
    }

    @Test("moved later, as each read does, it expires at the last time set")
    func later() {
        let timer = timer()
        for _ in 0..<10 {
            timer.set(.seconds(5))
            loop.advanceTime(by: .seconds(4))
        }
        #expect(expiries.count == 0)
        loop.advanceTime(by: .seconds(1))
        #expect(expiries.count == 1)
        timer.stop()
    }

    @Test("moved earlier, it expires earlier")
    func earlier() {
        let timer = timer()
        timer.set(.seconds(60))
        timer.set(.seconds(1))
        loop.advanceTime(by: .seconds(1))
        #expect(expiries.count == 1)
        loop.advanceTime(by: .seconds(60))
        #expect(expiries.count == 1)
        timer.stop()
    }

    @Test("cleared, it awaits nothing until it is set again; stopped, never again")
    func cleared() {
        let timer = timer()
        timer.set(.seconds(1))
        timer.clear()
        loop.advanceTime(by: .seconds(10))
        #expect(expiries.count == 0)
        timer.set(.seconds(1))
        loop.advanceTime(by: .seconds(1))
        #expect(expiries.count == 1)
        timer.set(.seconds(1))
        timer.stop()
        timer.set(.seconds(1))
        loop.advanceTime(by: .seconds(10))
        #expect(expiries.count == 1)
    }
}
