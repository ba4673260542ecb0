/// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012) and a random key of this process. It recognises known values without
/// keeping them. Without the key, a hash reveals nothing.
struct KeyedHash: Sendable {
    /// The hash of some bytes.
    struct Tag: Hashable, Sendable {
        fileprivate(set) var low: UInt64
        fileprivate(set) var high: UInt64

        /// Takes the same time for all tags.
        static func == (a: Tag, b: Tag) -> Bool { (a.low ^ b.low) | (a.high ^ b.high) == 0 }
    }

    private let key: (UInt64, UInt64)

    /// A new random key.
    init() {
        self.init(key: (.random(in: .min ... .max), .random(in: .min ... .max)))
    }

    init(key: (UInt64, UInt64)) {
        self.key = key
    }

    func tag(_ bytes: [UInt8]) -> Tag {
        var state = State(key)
        let whole = bytes.count / 8 * 8
        for start in stride(from: 0, to: whole, by: 8) { state.absorb(Self.word(bytes[start..<start + 8])) }
        state.absorb(Self.word(bytes[whole...]) | UInt64(truncatingIfNeeded: bytes.count) << 56)
        return state.finish()
    }

    private static func word(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private struct State {
        var v0, v1, v2, v3: UInt64

        init(_ key: (UInt64, UInt64)) {
            v0 = 0x736f_6d65_7073_6575 ^ key.0
            v1 = 0x646f_7261_6e64_6f6d ^ key.1 ^ 0xee
            v2 = 0x6c79_6765_6e65_7261 ^ key.0
            v3 = 0x7465_6462_7974_6573 ^ key.1
        }

        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            rounds(2)
            v0 ^= word
        }

        mutating func finish() -> Tag {
            v2 ^= 0xee
            rounds(4)
            let low = v0 ^ v1 ^ v2 ^ v3
            v1 ^= 0xdd
            rounds(4)
            return Tag(low: low, high: v0 ^ v1 ^ v2 ^ v3)
        }

        private mutating func rounds(_ count: Int) {
            for _ in 0..<count {
                v0 &+= v1
                v1 = v1 << 13 | v1 >> 51
                v1 ^= v0
                v0 = v0 << 32 | v0 >> 32
                v2 &+= v3
                v3 = v3 << 16 | v3 >> 48
                v3 ^= v2
                v0 &+= v3
                v3 = v3 << 21 | v3 >> 43
                v3 ^= v0
                v2 &+= v1
                v1 = v1 << 17 | v1 >> 47
                v1 ^= v2
                v2 = v2 << 32 | v2 >> 32
            }
        }
    }
}
