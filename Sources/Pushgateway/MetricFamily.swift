import Glibc

/// The metrics of one name, as the Pushgateway's clients send them (`io.prometheus.client.MetricFamily`).
public struct MetricFamily: Equatable, Sendable {
    /// The types that the text format can name.
    public enum Kind: String, Equatable, Sendable {
        case counter, gauge, summary, untyped, histogram
    }

    /// The name before suffixes such as `_bucket`.
    public var name: String
    /// The text of its HELP line; `nil` without one.
    public var help: String?
    /// The word of its TYPE line.
    public var kind: Kind
    /// One for each set of labels; a histogram or summary is one metric.
    public var metrics: [Metric]

    /// A family made of its parts.
    public init(name: String, help: String? = nil, kind: Kind, metrics: [Metric] = []) {
        self.name = name
        self.help = help
        self.kind = kind
        self.metrics = metrics
    }
}

/// One metric of a family: its labels and its value.
public struct Metric: Equatable, Sendable {
    /// A label; its value is already unescaped. Labels are compared byte by byte, as Prometheus does: for Swift, `é` in one character and in
    /// two are equal.
    public struct Label: Hashable, Sendable {
        /// The label's name.
        public var name: String
        /// The label's value.
        public var value: String

        /// A label made of its parts.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }

        /// Whether both have the same bytes.
        public static func == (a: Label, b: Label) -> Bool {
            a.name.utf8.elementsEqual(b.name.utf8) && a.value.utf8.elementsEqual(b.value.utf8)
        }

        /// Hashes the bytes of both.
        public func hash(into hasher: inout Hasher) {
            for text in [name, value] {
                text.withBytes { hasher.combine(bytes: $0) }
                // No byte of UTF-8.
                hasher.combine(UInt8(0xFF))
            }
        }
    }

    /// A value of the family's kind.
    public enum Value: Equatable, Sendable {
        /// Of a counter, a gauge or an untyped metric.
        case number(Double)
        case summary(Distribution)
        case histogram(Distribution)
    }

    /// What a summary or a histogram says.
    public struct Distribution: Equatable, Sendable {
        /// Observations; a whole number but for histograms of floats.
        public var count = 0.0
        /// The sum of all observations.
        public var sum = 0.0
        /// Of a summary: quantile and value. Of a histogram: upper bound and cumulative count.
        public var points: [(at: Double, value: Double)] = []

        /// Nothing observed.
        public init() {}

        /// NaN is equal to NaN here: two distributions that are written alike are equal.
        public static func == (a: Distribution, b: Distribution) -> Bool {
            func same(_ a: Double, _ b: Double) -> Bool { a == b || (a.isNaN && b.isNaN) }
            return same(a.count, b.count) && same(a.sum, b.sum) && a.points.count == b.points.count
                && zip(a.points, b.points).allSatisfy { same($0.at, $1.at) && same($0.value, $1.value) }
        }
    }

    /// In the order in which they were sent.
    public var labels: [Label]
    /// The value; `nil` when a protobuf metric has none of its family's kind.
    public var value: Value?
    /// Whether it came with a timestamp, which a Pushgateway refuses.
    public var hasTimestamp: Bool

    /// A metric made of its parts.
    public init(labels: [Label] = [], value: Value?, hasTimestamp: Bool = false) {
        self.labels = labels
        self.value = value
        self.hasTimestamp = hasTimestamp
    }
}

extension Metric {
    /// A bucket's bound or a quantile that it has twice, which would be one series twice.
    var repeatedPoint: Double? {
        switch value {
        case .summary(let distribution), .histogram(let distribution):
            var seen = Set<UInt64>(minimumCapacity: distribution.points.count)
            // Both zeros are written alike, and so is every NaN.
            return distribution.points.first { point in
                let at: Double = point.at == 0 ? 0 : point.at.isNaN ? .nan : point.at
                return !seen.insert(at.bitPattern).inserted
            }?.at
        case .number, nil: return nil
        }
    }
}

/// Counts what metric families take: about as many bytes as their text has with the labels of their group, and more for small families and
/// labels. Reading them, and writing their text, takes at most `FamilyCost.memory` times as much memory.
///
/// A small body can have a large text. Each line repeats the name of its family and all labels, and a line may need two bytes of protobuf.
/// So the families are counted while they are read, and reading ends at the limit.
public struct FamilyCost: Sendable {
    /// Bytes of memory for each byte that is counted.
    public static let memory = 18
    /// What a family takes beside its text.
    private static let family = 64
    /// The quotes of a label, and its place in memory.
    private static let label = 8
    /// ` 0` and the line feed, and a name of one letter.
    private static let value = 4

    private let limit: Int
    /// The least that the line of a sample takes.
    private let sample: Int
    private var count = 0

    /// - Parameters:
    ///   - limit: the most that may be counted.
    ///   - key: the group, whose labels each sample gets.
    public init(limit: Int = .max, key: GroupingKey? = nil) {
        self.limit = limit
        sample = Self.value + (key?.labels ?? []).reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
    }

    mutating func addFamily(nameOf size: Int) throws(FamilyFault) { try add(Self.family + size) }

    mutating func addSample() throws(FamilyFault) { try add(sample) }

    mutating func addLabel(_ label: Metric.Label) throws(FamilyFault) {
        try add(Self.label + label.name.utf8.count + label.value.utf8.count)
    }

    private mutating func add(_ bytes: Int) throws(FamilyFault) {
        count += bytes
        guard count <= limit else { throw .tooLarge(limit: limit) }
    }
}

/// Why a push of metric families is refused.
public enum FamilyFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// The body cannot be read: what and where.
    case malformed(String)
    /// The body was read, and what it says is not acceptable.
    case inconsistent(String)
    /// The group would take more than `limit`: its text, or what is pushed as `FamilyCost` counts it.
    case tooLarge(limit: Int)

    /// In lower case, without a final period.
    public var description: String {
        switch self {
        case .malformed(let what): what
        case .inconsistent(let what): "pushed metrics are invalid or inconsistent with existing metrics: \(what)"
        case .tooLarge(let limit): "the group would take more than \(limit) bytes"
        }
    }
}

/// The names that the text format allows without quotes.
enum Name {
    /// `[a-zA-Z_][a-zA-Z0-9_]*`.
    static func isLabel(_ name: some StringProtocol) -> Bool { isValid(name, colons: false) }

    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`.
    static func isMetric(_ name: some StringProtocol) -> Bool { isValid(name, colons: true) }

    /// Whether `byte` may begin a name.
    static func isFirst(_ byte: UInt8, colons: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
        case UInt8(ascii: ":"): colons
        default: false
        }
    }

    /// Whether `byte` may follow in a name.
    static func isNext(_ byte: UInt8, colons: Bool) -> Bool {
        isFirst(byte, colons: colons) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isValid(_ name: some StringProtocol, colons: Bool) -> Bool {
        guard let first = name.utf8.first, isFirst(first, colons: colons) else { return false }
        return name.utf8.dropFirst().allSatisfy { isNext($0, colons: colons) }
    }
}

/// Writes metric families as text format 0.0.4.
struct FamilyText {
    private(set) var bytes: [UInt8] = []
    private let limit: Int

    /// - Parameter limit: the most bytes to write.
    init(limit: Int = .max) { self.limit = limit }

    /// Appends one family whose metrics have passed `GroupLabels.apply`.
    /// - Throws: `.tooLarge`, soon after the limit is passed.
    mutating func write(_ family: MetricFamily) throws(FamilyFault) {
        if let help = family.help {
            append("# HELP \(family.name) ")
            appendEscaped(help, quotes: false)
            append("\n")
        }
        append("# TYPE \(family.name) \(family.kind.rawValue)\n")
        for metric in family.metrics { try write(metric, of: family.name) }
    }

    private mutating func write(_ metric: Metric, of name: String) throws(FamilyFault) {
        switch metric.value {
        case .number(let value):
            try sample(name, metric.labels, value: value)
        case .summary(let summary):
            for point in summary.points { try sample(name, metric.labels, extra: ("quantile", point.at), value: point.value) }
            try sample(name + "_sum", metric.labels, value: summary.sum)
            try sample(name + "_count", metric.labels, value: summary.count)
        case .histogram(let histogram):
            let bucket = name + "_bucket"
            for point in histogram.points { try sample(bucket, metric.labels, extra: ("le", point.at), value: point.value) }
            if !histogram.points.contains(where: { $0.at == .infinity }) {
                try sample(bucket, metric.labels, extra: ("le", .infinity), value: histogram.count)
            }
            try sample(name + "_sum", metric.labels, value: histogram.sum)
            try sample(name + "_count", metric.labels, value: histogram.count)
        case nil:
            break
        }
    }

    private mutating func sample(
        _ name: String, _ labels: [Metric.Label], extra: (name: String, value: Double)? = nil, value: Double
    ) throws(FamilyFault) {
        append(name)
        var separator = UInt8(ascii: "{")
        for label in labels {
            bytes.append(separator)
            append(label.name)
            append("=\"")
            appendEscaped(label.value, quotes: true)
            bytes.append(UInt8(ascii: "\""))
            separator = UInt8(ascii: ",")
        }
        if let extra {
            bytes.append(separator)
            append(extra.name)
            append("=\"")
            append(FloatText.label(of: extra.value))
            bytes.append(UInt8(ascii: "\""))
            separator = UInt8(ascii: ",")
        }
        if separator == UInt8(ascii: ",") { bytes.append(UInt8(ascii: "}")) }
        bytes.append(UInt8(ascii: " "))
        append(FloatText.text(of: value))
        bytes.append(UInt8(ascii: "\n"))
        guard bytes.count <= limit else { throw .tooLarge(limit: limit) }
    }

    private mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { bytes.append(contentsOf: $0) }
    }

    /// Appends the text with a backslash before each backslash and line feed, and in label values before each quote, as
    /// `AddedLabels.escaped` in Exposition does.
    private mutating func appendEscaped(_ text: String, quotes: Bool) {
        var text = text
        text.withUTF8 { text in
            let needsEscape = { (byte: UInt8) in
                byte == UInt8(ascii: "\\") || byte == UInt8(ascii: "\n") || (quotes && byte == UInt8(ascii: "\""))
            }
            guard text.contains(where: needsEscape) else { return bytes.append(contentsOf: text) }
            for byte in text {
                if needsEscape(byte) { bytes.append(UInt8(ascii: "\\")) }
                bytes.append(byte == UInt8(ascii: "\n") ? UInt8(ascii: "n") : byte)
            }
        }
    }
}

/// Numbers of the text format: those that Go's `ParseFloat` reads, without hexadecimal floats and underscores. `SampleValue` in Exposition,
/// which accepts what Prometheus 3 accepts, is a parser of its own.
enum FloatText {
    /// The number in `text`; `nil` when it is not a number, or too large for a double.
    static func number(in text: UnsafeRawBufferPointer) -> Double? {
        // strtod accepts more than the format (hexadecimal, `nan(…)`, white space) and needs a final NUL.
        guard (1...maxLength).contains(text.count) else { return nil }
        if let word = word(in: text) { return word }
        guard isDecimal(text) else { return nil }
        return withUnsafeTemporaryAllocation(byteCount: text.count + 1, alignment: 1) { copy in
            copy.copyMemory(from: text)
            copy[text.count] = 0
            guard let start = copy.baseAddress?.assumingMemoryBound(to: CChar.self) else { return nil }
            let value = strtod(start, nil)
            return value.isInfinite ? nil : value
        }
    }

    /// The number as text: whole numbers without a fraction, others with as few digits as possible.
    static func text(of value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        // Every whole number below 2^53 is exact, and so has no exponent.
        if value.magnitude < 9_007_199_254_740_992, value == value.rounded(.towardZero), !(value == 0 && value.sign == .minus) {
            return String(Int64(value))
        }
        return value.description
    }

    /// The number as the value of `le` or `quantile`, where another spelling is another series: as Go's format `g` and so as a Pushgateway
    /// and Go's clients write it, with an exponent from 1e+06 on and below 0.0001.
    static func label(of value: Double) -> String {
        // They write both zeros alike.
        guard value != 0 else { return "0" }
        guard value.isFinite else { return text(of: value) }
        // Swift too writes as few digits as possible: `1234567.0`, `1.5e-05`.
        let parts = value.magnitude.description.split(separator: "e")
        let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let whole = mantissa[0].drop { $0 == "0" }
        let fraction = mantissa.count > 1 ? mantissa[1] : ""
        let zeros = whole.isEmpty ? fraction.prefix { $0 == "0" }.count : 0
        var digits = String((whole + fraction).drop { $0 == "0" })
        while digits.last == "0" { digits.removeLast() }
        let exponent = (parts.count > 1 ? Int(parts[1]) ?? 0 : 0) + (whole.isEmpty ? -zeros : whole.count) - 1
        guard exponent < -4 || exponent >= 6 else { return text(of: value) }
        let rest = digits.dropFirst()
        let power = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
        return "\(value < 0 ? "-" : "")\(digits.prefix(1))\(rest.isEmpty ? "" : ".\(rest)")e\(exponent < 0 ? "-" : "+")\(power)"
    }

    /// No number needs as many characters, so longer text is refused without reading it.
    private static let maxLength = 1024

    /// `Inf`, `infinity` and `NaN`, whatever their case; only infinity has a sign.
    private static func word(in text: UnsafeRawBufferPointer) -> Double? {
        let isNegative = text[0] == UInt8(ascii: "-")
        let hasSign = isNegative || text[0] == UInt8(ascii: "+")
        let letters = text.dropFirst(hasSign ? 1 : 0).lazy.map { $0 | 0x20 }
        if letters.elementsEqual("inf".utf8) || letters.elementsEqual("infinity".utf8) { return isNegative ? -.infinity : .infinity }
        return !hasSign && letters.elementsEqual("nan".utf8) ? .nan : nil
    }

    /// A sign, digits with at most one point, and an exponent.
    private static func isDecimal(_ text: UnsafeRawBufferPointer) -> Bool {
        var rest = text[...]
        if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { rest.removeFirst() }
        let whole = dropDigits(&rest)
        var fraction = 0
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            fraction = dropDigits(&rest)
        }
        guard whole + fraction > 0 else { return false }
        if let exponent = rest.first, exponent | 0x20 == UInt8(ascii: "e") {
            rest.removeFirst()
            if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { rest.removeFirst() }
            guard dropDigits(&rest) > 0 else { return false }
        }
        return rest.isEmpty
    }

    private static func dropDigits(_ text: inout Slice<UnsafeRawBufferPointer>) -> Int {
        let before = text.count
        text = text.drop { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return before - text.count
    }
}
