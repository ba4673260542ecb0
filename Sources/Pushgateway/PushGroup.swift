import Glibc

/// The metrics of one group: what `PUT`, `POST` and the Pushgateway's own two metrics made of it. A value: a push makes a new one.
///
/// Its text says all that there is to know of it, so that a group is kept as its text, and read again for the next push.
public struct PushGroup: Sendable {
    /// A family as it is exposed.
    private struct Family: Sendable {
        var name: String
        var kind: MetricFamily.Kind
        var text: ArraySlice<UInt8>
    }

    /// Which group it is.
    public let key: GroupingKey
    /// In order of name.
    private var families: [Family] = []
    /// Of the last push that succeeded and the last one that was refused, in seconds since 1970; 0 before the first.
    private var pushTime = 0.0
    private var failureTime = 0.0

    /// A group that nothing was pushed to.
    public init(_ key: GroupingKey) { self.key = key }

    /// The group that has this text. Takes time in proportion to the text, about a millisecond per MiB.
    public init(_ key: GroupingKey, text: UnsafeRawBufferPointer) {
        self.key = key
        read([UInt8](text))
    }

    /// The group after a push.
    /// - Parameters:
    ///   - replacing: whether what was there goes (`PUT`), or only the families of the same names (`POST`).
    ///   - time: of the push, in seconds since 1970.
    /// - Throws: `.inconsistent`; the group stays as it is then, but for `failed(at:)`.
    public func pushed(_ new: [MetricFamily], replacing: Bool, at time: Double) throws(FamilyFault) -> PushGroup {
        let rules = GroupLabels(key)
        var group = self
        if replacing { group.families = [] }
        var merged = Dictionary(group.families.map { ($0.name, $0) }) { $1 }
        // The two that the group has of its own are not the client's to set.
        for var family in new where family.name != Self.pushMetric && family.name != Self.failureMetric {
            try rules.apply(to: &family)
            guard !family.metrics.isEmpty else {
                merged[family.name] = nil
                continue
            }
            var text = FamilyText()
            text.write(family)
            merged[family.name] = Family(name: family.name, kind: family.kind, text: text.bytes[...])
        }
        try Self.checkSuffixes(merged.mapValues(\.kind))
        group.families = merged.values.sorted { $0.name < $1.name }
        group.pushTime = time
        return group
    }

    /// The group after a push that was read and then refused: only the time of the failure changes.
    public func failed(at time: Double) -> PushGroup {
        var group = self
        group.failureTime = time
        return group
    }

    // MARK: - Text

    /// All its metrics as text format 0.0.4, the two times last.
    public var text: [UInt8] {
        var times = FamilyText()
        times.write(timeFamily(Self.pushMetric, "When this group was last changed successfully, in seconds since 1970.", pushTime))
        times.write(timeFamily(Self.failureMetric, "When a push to this group was last refused, in seconds since 1970.", failureTime))
        var text: [UInt8] = []
        text.reserveCapacity(families.reduce(times.bytes.count) { $0 + $1.text.count })
        for family in families { text += family.text }
        return text + times.bytes
    }

    private func timeFamily(_ name: String, _ help: String, _ time: Double) -> MetricFamily {
        var family = MetricFamily(name: name, help: help, kind: .gauge, metrics: [Metric(value: .number(time))])
        // Nothing in it can be inconsistent.
        try? GroupLabels(key).apply(to: &family)
        return family
    }

    private static let pushMetric = "push_time_seconds"
    private static let failureMetric = "push_failure_time_seconds"

    /// Takes apart what `text` has written: each family begins with its HELP or its TYPE.
    private mutating func read(_ text: [UInt8]) {
        /// Where each family begins, its name and its kind.
        var begins: [(offset: Int, name: String, kind: MetricFamily.Kind)] = []
        var help: Int?
        text.withUnsafeBytes { bytes in
            var position = 0
            while position < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
                let length = rest.baseAddress.flatMap { memchr($0, CInt(UInt8(ascii: "\n")), rest.count).map { rest.distance(to: $0) } }
                let line = rest.prefix(length ?? rest.count)
                // `# HELP NAME …` or `# TYPE NAME KIND`; FamilyText writes no other comment.
                if line.starts(with: "# HELP ".utf8) {
                    help = position
                } else if line.starts(with: "# TYPE ".utf8) {
                    let words = line.split(separator: UInt8(ascii: " "))
                    let kind = words.last.flatMap { MetricFamily.Kind(rawValue: String(decoding: $0, as: UTF8.self)) }
                    begins.append(
                        (help ?? position, String(decoding: words.dropFirst(2).first ?? line[..<0], as: UTF8.self), kind ?? .untyped))
                    help = nil
                }
                position += line.count + 1
            }
        }
        let ends = begins.dropFirst().map(\.offset) + [text.count]
        for (begin, end) in zip(begins, ends) { take(Family(name: begin.name, kind: begin.kind, text: text[begin.offset..<end])) }
    }

    private mutating func take(_ family: Family) {
        func time() -> Double {
            let number = family.text.dropLast().reversed().prefix { $0 != UInt8(ascii: " ") }.reversed()
            return Array(number).withUnsafeBytes(FloatText.number) ?? 0
        }
        switch family.name {
        case Self.pushMetric: pushTime = time()
        case Self.failureMetric: failureTime = time()
        default: families.append(family)
        }
    }

    /// A family must not have the name of another one's series: `x_count` beside the summary `x`.
    private static func checkSuffixes(_ kinds: [String: MetricFamily.Kind]) throws(FamilyFault) {
        for (name, kind) in kinds {
            let suffixes: [String] =
                switch kind {
                case .summary: ["_count", "_sum"]
                case .histogram: ["_count", "_sum", "_bucket"]
                case .counter, .gauge, .untyped: []
                }
            for suffix in suffixes where kinds[name + suffix] != nil {
                throw .inconsistent("the metric '\(name)\(suffix)' collides with the \(kind.rawValue) '\(name)'")
            }
        }
    }
}

/// Sets the labels of a group on what is pushed to it, and refuses what would not be consistent then.
struct GroupLabels {
    private let key: GroupingKey

    init(_ key: GroupingKey) { self.key = key }

    /// Sets the group's labels on every metric, `instance=""` where there is no other, and puts labels in order of name.
    /// - Throws: `.inconsistent`.
    func apply(to family: inout MetricFamily) throws(FamilyFault) {
        guard Name.isMetric(family.name) else { throw .inconsistent("'\(family.name.prefix(80))' is not a metric name") }
        var seen = Set<[Metric.Label]>(minimumCapacity: family.metrics.count)
        for index in family.metrics.indices {
            guard !family.metrics[index].hasTimestamp else { throw .inconsistent("pushed metrics must not have timestamps") }
            guard family.metrics[index].value != nil else {
                throw .inconsistent("a metric of '\(family.name)' has no value of the type \(family.kind.rawValue)")
            }
            if let point = family.metrics[index].repeatedPoint {
                throw .inconsistent("a metric of '\(family.name)' has the bucket or quantile \(FloatText.text(of: point)) twice")
            }
            set(&family.metrics[index].labels)
            let labels = family.metrics[index].labels
            try check(labels, of: family)
            guard seen.insert(labels).inserted else {
                let text = labels.map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ",")
                throw .inconsistent("the metric '\(family.name)' was pushed twice with the same labels {\(text.prefix(400))}")
            }
        }
    }

    private func set(_ labels: inout [Metric.Label]) {
        for own in key.labels {
            if let index = labels.firstIndex(where: { $0.name == own.name }) {
                labels[index].value = own.value
            } else {
                labels.append(own)
            }
        }
        if !labels.contains(where: { $0.name == "instance" }) { labels.append(Metric.Label(name: "instance", value: "")) }
        labels.sort { $0.name < $1.name }
    }

    private func check(_ labels: [Metric.Label], of family: MetricFamily) throws(FamilyFault) {
        for (index, label) in labels.enumerated() {
            guard Name.isLabel(label.name), label.name != "__name__" else {
                throw .inconsistent("'\(label.name.prefix(80))' is not a label name (metric '\(family.name)')")
            }
            if index > 0, labels[index - 1].name == label.name {
                throw .inconsistent("a metric of '\(family.name)' has the label '\(label.name)' twice")
            }
            let reserved = family.kind == .summary ? "quantile" : family.kind == .histogram ? "le" : nil
            if label.name == reserved {
                throw .inconsistent("a \(family.kind.rawValue) must not have the label '\(label.name)' ('\(family.name)')")
            }
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The offset of `place`.
    fileprivate func distance(to place: UnsafeMutableRawPointer) -> Int { baseAddress.map { UnsafeRawPointer(place) - $0 } ?? 0 }
}
