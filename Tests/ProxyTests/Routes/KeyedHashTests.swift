import Testing

@testable import Proxy

struct KeyedHashTests {
    /// The reference implementation's vectors: key 00 01 … 0f, input 00 01 … of growing length.
    @Test(
        "the vectors of the reference implementation",
        arguments: [
            (0, 0xe6a8_25ba_047f_81a3, 0x9302_55c7_1472_f66d), (1, 0x44af_996b_d8c1_87da, 0x45fc_229b_1159_7634),
            (2, 0xc75d_a4a4_8d22_7781, 0xe4ff_0af6_de8b_a3fc),
        ] as [(Int, UInt64, UInt64)])
    func vectors(length: Int, low: UInt64, high: UInt64) {
        let hash = KeyedHash(key: (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908))
        let tag = hash.tag((0..<length).map { UInt8($0) })
        #expect(tag.low == low)
        #expect(tag.high == high)
    }

    @Test("each byte counts, the length too, and so does the key")
    func differs() {
        let hash = KeyedHash()
        var seen: Set<KeyedHash.Tag> = []
        for length in 0..<40 {
            for bit in 0..<max(1, length) * 8 {
                var bytes = [UInt8](repeating: 0, count: length)
                if length > 0 { bytes[bit / 8] = 1 << (bit % 8) }
                seen.insert(hash.tag(bytes))
            }
        }
        #expect(seen.count == 1 + (1..<40).reduce(0) { $0 + $1 * 8 })
        #expect(KeyedHash().tag([1]) != hash.tag([1]))
        #expect(hash.tag([1]) == hash.tag([1]))
    }
}
