import Glibc

/// The labels that name a group, from the path of a request: `/metrics/job/JOB{/LABEL/VALUE}`.
///
/// The syntax is the Pushgateway's: after `job@base64` and `LABEL@base64` comes a value in base64url, with or without padding. Of a
/// repeated label the last value counts, and the job at the start of the path wins over a label `job`.
public struct GroupingKey: Hashable, Sendable {
    /// Why a path does not name a group.
    public enum Fault: Error, Equatable, Sendable, CustomStringConvertible {
        case noJob
        case oddParts
        case invalidLabelName(String)
        case invalidBase64(String)
        case invalidText(String)
        case tooLong(limit: Int)

        /// In lower case, without a final period.
        public var description: String {
            switch self {
            case .noJob: "job name is required: use /metrics/job/JOB"
            case .oddParts: "odd number of parts after the job: use /metrics/job/JOB/LABEL/VALUE"
            case .invalidLabelName(let name):
                "'\(name)' is not a label name: use letters, digits and _, not beginning with a digit or __"
            case .invalidBase64(let name): "the value of '\(name)@base64' is not base64url"
            case .invalidText(let name): "the value of '\(name)' is not UTF-8, or holds a NUL byte"
            case .tooLong(let limit): "the group's name would be longer than \(limit) bytes: use fewer or shorter labels"
            }
        }
    }

    /// The longest name of an app, in bytes.
    static let maxName = 256

    /// All labels, `job` among them, in order of name.
    public let labels: [Metric.Label]

    /// The value of the label `job`.
    public var job: String { labels.first { $0.name == "job" }?.value ?? "" }

    /// Reads the rest of a percent-decoded path after `/metrics/`.
    public init(path: some StringProtocol) throws(Fault) {
        // By bytes: a slash and a combining mark behind it are one `Character`.
        let parts = Substring(path).utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Substring($0) }
        guard parts.count >= 2, parts[0] == "job" || parts[0] == "job@base64" else { throw .noJob }
        var values: [String: String] = [:]
        var rest = parts.dropFirst(2)
        // One slash at the end of the path does not count.
        if rest.count == 1, rest.first?.isEmpty == true { rest = [] }
        guard rest.count.isMultiple(of: 2) else { throw .oddParts }
        var index = rest.startIndex
        while index < rest.endIndex {
            let (name, value) = try Self.label(rest[index], rest[index + 1])
            guard Name.isLabel(name), !name.hasPrefix("__") else { throw .invalidLabelName(Self.shown(name)) }
            values[name] = value
            index += 2
        }
        let (_, job) = try Self.label(parts[0], parts[1])
        guard !job.isEmpty else { throw .noJob }
        values["job"] = job
        labels = values.map { Metric.Label(name: $0.key, value: $0.value) }.sorted { $0.name < $1.name }
        guard name.utf8.count <= Self.maxName else { throw .tooLong(limit: Self.maxName) }
    }

    /// The name of the group's app: `job/JOB{/LABEL/VALUE}`, the labels after the job in order of name; `/`, `%` and control characters
    /// in values are percent-encoded.
    public var name: String {
        var name = "job/\(Self.encoded(job))"
        for label in labels where label.name != "job" { name += "/\(label.name)/\(Self.encoded(label.value))" }
        return name
    }

    private static func label(_ name: some StringProtocol, _ value: some StringProtocol) throws(Fault) -> (name: String, value: String) {
        let suffix = "@base64"
        guard name.hasSuffix(suffix) else { return (String(name), try checked(String(value), of: String(name))) }
        let name = String(name.dropLast(suffix.count))
        guard let bytes = base64URL(value.utf8) else { throw .invalidBase64(shown(name)) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalidText(shown(name)) }
        return (name, try checked(text, of: name))
    }

    private static func checked(_ value: String, of name: String) throws(Fault) -> String {
        guard !value.utf8.contains(0) else { throw .invalidText(shown(name)) }
        return value
    }

    /// RFC 4648 §5. Padding is ignored, and line breaks are: the command base64 writes some.
    private static func base64URL(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var digits: [UInt8] = []
        var padding = false
        for byte in text where byte != UInt8(ascii: "\n") && byte != UInt8(ascii: "\r") {
            if byte == UInt8(ascii: "=") {
                padding = true
                continue
            }
            guard !padding, let digit = digit(byte) else { return nil }
            digits.append(digit)
        }
        guard digits.count % 4 != 1 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count * 3 / 4)
        var bits: UInt32 = 0
        var count = 0
        for digit in digits {
            bits = bits << 6 | UInt32(digit)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        return bytes
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }

    private static func encoded(_ value: String) -> String {
        var result = ""
        for scalar in value.unicodeScalars {
            switch scalar.value {
            case 0..<0x20, 0x7F..<0xA0, UInt32(UInt8(ascii: "/")), UInt32(UInt8(ascii: "%")):
                for byte in String(scalar).utf8 { result += (byte < 0x10 ? "%0" : "%") + String(byte, radix: 16, uppercase: true) }
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A label's name for messages: printable and short.
    private static func shown(_ name: some StringProtocol) -> String { encoded(String(name.prefix(80))) }
}

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
    ///   - limit: the most bytes that the text of its families may have.
    /// - Throws: `.inconsistent`, `.tooLarge`. The push is refused then; `failed` notes its time.
    public func pushed(_ new: [MetricFamily], replacing: Bool, at time: Double, limit: Int = .max) throws(FamilyFault) -> PushGroup {
        guard !new.contains(where: { $0.metrics.contains(where: \.hasTimestamp) }) else {
            throw .inconsistent("pushed metrics must not have timestamps")
        }
        let rules = GroupLabels(key)
        var group = self
        if replacing { group.families = [] }
        var merged = Dictionary(group.families.map { ($0.name, $0) }) { $1 }
        var left = limit
        // The group sets these two families itself: what a client pushes under their names is ignored.
        for var family in new where family.name != Self.pushMetric && family.name != Self.failureMetric {
            try rules.apply(to: &family)
            guard !family.metrics.isEmpty else {
                merged[family.name] = nil
                continue
            }
            var text = FamilyText(limit: left)
            do throws(FamilyFault) {
                try text.write(family)
            } catch {
                throw .tooLarge(limit: limit)
            }
            left -= text.bytes.count
            merged[family.name] = Family(name: family.name, kind: family.kind, text: text.bytes[...])
        }
        guard merged.values.reduce(0, { $0 + $1.text.count }) <= limit else { throw .tooLarge(limit: limit) }
        try Self.checkSuffixes(merged.mapValues(\.kind))
        group.families = merged.values.sorted { $0.name < $1.name }
        group.pushTime = time
        return group
    }

    /// The text of a group after a push that was read and then refused: only the time of the failure changes.
    /// - Parameter text: of a group. Its samples may have got further labels.
    public static func failed(_ text: UnsafeRawBufferPointer, at time: Double) -> [UInt8] {
        // The time of the failure is the last number.
        let kept = UnsafeRawBufferPointer(rebasing: text.dropLast(lastNumber(of: text).count + 1))
        let number = "\(FloatText.text(of: time))\n".utf8
        var result: [UInt8] = []
        result.reserveCapacity(kept.count + number.count)
        result += kept
        result += number
        return result
    }

    // MARK: - Text

    /// All its metrics as text format 0.0.4, the two times last.
    public var text: [UInt8] {
        var times = FamilyText()
        // Without a limit, nothing is thrown.
        try? times.write(timeFamily(Self.pushMetric, "When this group was last changed successfully, in seconds since 1970.", pushTime))
        try? times.write(timeFamily(Self.failureMetric, "When a push to this group was last refused, in seconds since 1970.", failureTime))
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
        func time() -> Double { Array(Self.lastNumber(of: family.text)).withUnsafeBytes(FloatText.number) ?? 0 }
        switch family.name {
        case Self.pushMetric: pushTime = time()
        case Self.failureMetric: failureTime = time()
        default: families.append(family)
        }
    }

    /// The number at the end of a text, before its last line feed.
    private static func lastNumber<Text: BidirectionalCollection<UInt8>>(of text: Text) -> Text.SubSequence {
        let line = text.dropLast()
        guard let blank = line.lastIndex(of: UInt8(ascii: " ")) else { return line }
        return line[line.index(after: blank)...]
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
            guard family.metrics[index].value != nil else {
                throw .inconsistent("a metric of '\(family.name)' has no value of the type \(family.kind.rawValue)")
            }
            if let point = family.metrics[index].repeatedPoint {
                throw .inconsistent("a metric of '\(family.name)' has the bucket or quantile \(FloatText.label(of: point)) twice")
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
            guard Name.isLabel(label.name), !label.name.utf8.starts(with: "__".utf8) else {
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
