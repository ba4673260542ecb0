import Testing

@testable import Proxy

@Suite("Short texts")
struct ShortTextTests {
    @Test(
        "sizes",
        arguments: [
            (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1126, "1.0 KiB"), (1127, "1.1 KiB"), (10_239, "9.9 KiB"),
            (10_240, "10 KiB"), (1_048_575, "1023 KiB"), (1_048_576, "1.0 MiB"), (1 << 30, "1.0 GiB"), (1 << 40, "1.0 TiB"),
            (5000 << 40, "5000 TiB"), (Int.max, "8388607 TiB"),
        ])
    func size(bytes: Int, text: String) {
        #expect(ShortText.size(bytes) == text)
    }

    @Test(
        "ages",
        arguments: [
            (-5, "now"), (0, "now"), (999_999_999, "now"), (1_000_000_000, "1 s"), (59_999_999_999, "59 s"), (60_000_000_000, "1 min"),
            (3_599_000_000_000, "59 min"), (3_600_000_000_000, "1 h"), (172_799_000_000_000, "47 h"), (172_800_000_000_000, "2 d"),
        ] as [(Int64, String)])
    func age(nanoseconds: Int64, text: String) {
        #expect(ShortText.age(of: Timestamp(nanoseconds: 7), at: Timestamp(nanoseconds: 7 + nanoseconds)) == text)
    }

    @Test("the ends of time make no fault")
    func extremes() {
        #expect(ShortText.age(of: Timestamp(nanoseconds: .min), at: Timestamp(nanoseconds: .max)) == "now")
    }
}
