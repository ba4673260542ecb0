/// A size in bytes.
public struct ByteCount: Hashable, Comparable, Sendable {
    /// The number of bytes, never negative.
    public let bytes: Int

    /// A number of bytes.
    public init(_ bytes: Int) {
        precondition(bytes >= 0, "a size is never negative")
        self.bytes = bytes
    }

    /// `n` × 1024 bytes.
    public static func kibibytes(_ n: Int) -> ByteCount { ByteCount(n << 10) }
    /// `n` × 1024² bytes.
    public static func mebibytes(_ n: Int) -> ByteCount { ByteCount(n << 20) }
    /// `n` × 1024³ bytes.
    public static func gibibytes(_ n: Int) -> ByteCount { ByteCount(n << 30) }

    /// By number.
    public static func < (a: ByteCount, b: ByteCount) -> Bool { a.bytes < b.bytes }
}
/// Sizes as text: `64KiB`, `16MiB`. `KB`, `MB`, `GB` and `TB` are powers of 1024 too, as in Prometheus's `body_size_limit`.
enum ByteCountText {
    /// Why a text is not a size.
    struct Malformed: Error {
        var reason: String
    }

    private static let units: [(name: String, shift: Int)] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)]
    private static let synonyms = ["TB": 40, "GB": 30, "MB": 20, "KB": 10]

    static func parse(_ text: String) throws(Malformed) -> Int {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let name = String(text.dropFirst(digits.count))
        guard !digits.isEmpty else { throw Malformed(reason: "a size begins with a number") }
        guard !name.isEmpty else { throw Malformed(reason: "the unit is missing; write \"\(digits)B\", or \(digits) without quotes") }
        guard !name.hasPrefix("."), !name.hasPrefix(",") else {
            throw Malformed(reason: "fractions are written in a smaller unit, such as \"1536KiB\"")
        }
        guard let shift = units.first(where: { $0.name == name })?.shift ?? synonyms[name] else {
            throw Malformed(reason: hint(digits: digits, name: name))
        }
        guard let number = Int(digits), number <= Int.max >> shift else { throw Malformed(reason: "the number is too large") }
        return number << shift
    }

    private static func hint(digits: Substring, name: String) -> String {
        // `64k`, `64 KiB`, `64kib`.
        let letter = name.lowercased().first { $0 != " " }
        if let letter, let unit = units.first(where: { $0.name.lowercased().first == letter }) {
            return "did you mean \"\(digits)\(unit.name)\"?"
        }
        return "the units are B, KiB, MiB, GiB and TiB"
    }

    /// The shortest exact text of `size`: `64MiB`.
    static func text(_ size: ByteCount) -> String {
        let unit = units.first { size.bytes > 0 && size.bytes % (1 << $0.shift) == 0 } ?? ("B", 0)
        return "\(size.bytes >> unit.shift)\(unit.name)"
    }
}
/// Durations as text: `500ms`, `5s`, `1m30s`; units from the largest to the smallest, each at most once, whole numbers, as in Prometheus.
public enum DurationText {
    /// The longest duration accepted. Deadlines are moments in nanoseconds: they must not run over.
    public static let maximum = Duration.seconds(365 * 86400)

    /// Why a text is not a duration.
    public struct Malformed: Error {
        /// In lower case, without a final period.
        public var reason: String
    }

    private static let units: [(name: String, milliseconds: Int64)] = [
        ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]

    /// Reads a duration with units; only `0` may go without.
    public static func parse(_ text: String) throws(Malformed) -> Duration {
        guard text != "0" else { return .zero }
        guard !text.isEmpty else { throw Malformed(reason: "it is empty") }
        var rest = Substring(text)
        var milliseconds: Int64 = 0
        var lastUnit = -1
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            let name = rest.prefix { !($0.isASCII && $0.isNumber) }
            rest = rest.dropFirst(name.count)
            guard !digits.isEmpty else { throw Malformed(reason: "each unit needs a number in front of it, as in \"1m30s\"") }
            guard !name.isEmpty else {
                // After another unit the meaning is not clear: 1h30 is hardly 30s.
                throw Malformed(
                    reason: lastUnit < 0 ? "the unit is missing; did you mean \"\(digits)s\"?" : "the unit after \(digits) is missing")
            }
            guard !name.hasPrefix("."), !name.hasPrefix(",") else {
                throw Malformed(reason: "fractions are written in a smaller unit, such as \"1500ms\"")
            }
            guard let unit = units.firstIndex(where: { $0.name == name }) else {
                throw Malformed(reason: "the units are w, d, h, m, s and ms")
            }
            guard unit > lastUnit else { throw Malformed(reason: "units go from the largest to the smallest, each once") }
            lastUnit = unit
            guard let count = Int64(digits) else { throw Malformed(reason: "the number is too large") }
            let (product, overflow) = count.multipliedReportingOverflow(by: units[unit].milliseconds)
            let (sum, sumOverflow) = milliseconds.addingReportingOverflow(product)
            guard !overflow, !sumOverflow else { throw Malformed(reason: "the number is too large") }
            milliseconds = sum
        }
        return .milliseconds(milliseconds)
    }

    /// The shortest text of `duration`, to the millisecond: `1m30s`.
    public static func text(_ duration: Duration) -> String {
        let parts = duration.components
        var rest = parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000
        guard rest > 0 else { return "0s" }
        var text = ""
        for unit in units where unit.name != "w" && rest >= unit.milliseconds {
            text += "\(rest / unit.milliseconds)\(unit.name)"
            rest %= unit.milliseconds
        }
        return text
    }
}
