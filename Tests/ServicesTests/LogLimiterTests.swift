import NIOCore
import Testing

@testable import Services

@Suite("LogLimiter")
struct LogLimiterTests {
    @Test("a burst of lines goes through, then the next span tells how many were left out")
    func spans() {
        let limiter = LogLimiter(burst: 2, each: .seconds(10))
        let start = NIODeadline.now()
        #expect(limiter.admit(at: start) == 0)
        #expect(limiter.admit(at: start + .seconds(1)) == 0)
        for second in 2..<10 { #expect(limiter.admit(at: start + .seconds(Int64(second))) == nil) }
        #expect(limiter.admit(at: start + .seconds(10)) == 8)
        #expect(limiter.admit(at: start + .seconds(11)) == 0)
        #expect(limiter.admit(at: start + .seconds(12)) == nil)
    }
}
