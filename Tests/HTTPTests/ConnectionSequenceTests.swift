import TestSupport
import Testing

@Suite("Sequences of events")
struct ConnectionSequenceTests {
    @Test("whatever happens in whatever order, every turn ends and nothing is held at the end", arguments: 0..<8)
    func random(seed: UInt64) {
        var state = seed &+ 1
        func next() -> UInt8 {
            // splitmix64
            state &+= 0x9E37_79B9_7F4A_7C15
            var bits = state
            bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
            bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
            return UInt8(truncatingIfNeeded: bits >> 56)
        }
        for _ in 0..<500 {
            let choices = (0..<200).map { _ in next() }
            let broken = ConnectionSequence.run(choices)
            #expect(broken == nil, "\(choices)")
            if broken != nil { return }
        }
    }
}
