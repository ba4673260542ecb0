/// Durations as text: `500ms`, `5s`, `1m30s`; units from the largest to the smallest, each at most once, whole numbers, as in Prometheus.
public enum DurationText {
    /// The longest duration accepted. Deadlines are moments in nanoseconds: they must not run over.
    public static let maximum = Duration.seconds(365 * 86400)

    /// Why a text is no duration.
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
            guard !name.isEmpty else { throw Malformed(reason: "the unit is missing; did you mean \"\(digits)s\"?") }
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
