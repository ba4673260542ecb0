import Testing

@testable import HTTP

@Suite("Leases of shared pieces")
struct PieceLeaseTests {
    @Test("a piece counts once while answers keep it and nothing else does, whatever comes first")
    func counts() {
        let lease = PieceLease(isStored: true)
        #expect(lease.hold(bytes: 100) == 0)
        #expect(lease.hold(bytes: 100) == 0)
        #expect(!lease.isRetired)
        #expect(lease.retire() == 100)
        #expect(lease.isRetired)
        #expect(lease.retire() == 0)
        #expect(lease.hold(bytes: 100) == 0)
        #expect(lease.release() == 0)
        #expect(lease.release() == 0)
        #expect(lease.release() == -100)
        #expect(lease.hold(bytes: 100) == 100)
        #expect(lease.release() == -100)
    }

    @Test("a piece that was never stored counts from its first holder on")
    func neverStored() {
        let lease = PieceLease(isStored: false)
        #expect(lease.hold(bytes: 7) == 7)
        #expect(lease.hold(bytes: 7) == 0)
        #expect(lease.release() == 0)
        #expect(lease.release() == -7)
    }

    @Test("what is retired while no answer keeps it costs nothing")
    func unheld() {
        let lease = PieceLease(isStored: true)
        #expect(lease.hold(bytes: 5) == 0)
        #expect(lease.release() == 0)
        #expect(lease.retire() == 0)
    }
}
