import TestSupport

/// Any sequence of reads, writes, pauses, resets and half-closes leaves a connection that holds nothing at the end.
enum ConnectionFuzzer {
    static func run(_ input: UnsafeRawBufferPointer) {
        let broken = ConnectionSequence.run(input)
        precondition(broken == nil, broken ?? "")
    }
}
