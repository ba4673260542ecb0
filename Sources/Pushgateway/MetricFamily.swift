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
    /// A label; its value is already unescaped.
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
            // Both zeros are written differently, and are two series.
            return distribution.points.first { !seen.insert($0.at.bitPattern).inserted }?.at
        case .number, nil: return nil
        }
    }
}

/// Why a push of metric families is refused.
public enum FamilyFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// The body cannot be read: what and where.
    case malformed(String)
    /// The body was read, and what it says is not acceptable.
    case inconsistent(String)

    /// In lower case, without a final period.
    public var description: String {
        switch self {
        case .malformed(let what): what
        case .inconsistent(let what): "pushed metrics are invalid or inconsistent with existing metrics: \(what)"
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
