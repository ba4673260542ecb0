import NIOCore
import TLS
import Testing

@testable import Services

struct HandshakeAccountTests {
    @Test("each reason is told at most once a minute, with the number of those not told; all are counted")
    func quiet() {
        let account = HandshakeAccount()
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
        #expect(account.count(.timeout, at: start) == 0)
        #expect(account.count(.timeout, at: start + .seconds(1)) == nil)
        #expect(account.count(.certificateExpired, at: start + .seconds(1)) == 0)
        #expect(account.count(.timeout, at: start + .seconds(59)) == nil)
        #expect(account.count(.timeout, at: start + .seconds(60)) == 2)
        #expect(account.count(.timeout, at: start + .seconds(61)) == nil)
        #expect(account.failed == [.timeout: 5, .certificateExpired: 1])
        #expect(account.succeeded == 0)
    }
}
