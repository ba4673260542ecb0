/// Reads text format 0.0.4 into metric families, as strictly as the Pushgateway does: a second HELP or TYPE, a TYPE after samples, blanks
/// at the end of a line and unknown escapes are refused. A final line without its line feed is read.
public struct TextFamilies {
    private let text: UnsafeRawBufferPointer
    private var cost: FamilyCost
    private var position = 0
    private var line = 0

    private var families: [Draft] = []
    private var indexes: [String: Int] = [:]

    /// A family while its lines are read.
    private struct Draft {
        var name: String
        var help: String?
        var kind: MetricFamily.Kind?
        var metrics: [Metric] = []
        /// Where the metric of a summary or histogram stands, by its labels.
        var places: [[Metric.Label]: Int] = [:]
    }

    /// What a sample's name says beside the family: nothing, or which figure of a distribution it is.
    private enum Part { case plain, count, sum }

    private init(_ text: UnsafeRawBufferPointer, _ cost: FamilyCost) {
        self.text = text
        self.cost = cost
    }

    /// The families in the order in which their names first appear; those without a sample are left out.
    /// - Parameter cost: counts what they take, and says when it is too much.
    /// - Throws: `.malformed`, with the number of the line; `.tooLarge`.
    public static func read(_ text: UnsafeRawBufferPointer, _ cost: FamilyCost = FamilyCost()) throws(FamilyFault) -> [MetricFamily] {
        var reader = TextFamilies(text, cost)
        while reader.position < text.count { try reader.readLine() }
        return reader.families.compactMap { draft in
            guard !draft.metrics.isEmpty else { return nil }
            return MetricFamily(name: draft.name, help: draft.help, kind: draft.kind ?? .untyped, metrics: draft.metrics)
        }
    }

    // MARK: - Lines

    private mutating func readLine() throws(FamilyFault) {
        line += 1
        skipBlanks()
        switch current {
        case nil: break
        case newline: position += 1
        case UInt8(ascii: "#"):
            position += 1
            try readComment()
            endLine()
        default:
            try readSample()
            endLine()
        }
    }

    /// Moves behind the line feed that comes next.
    private mutating func endLine() {
        while !isAtLineEnd { position += 1 }
        position += 1
    }

    private mutating func readComment() throws(FamilyFault) {
        skipBlanks()
        let word = token()
        guard word == "HELP" || word == "TYPE", !isAtLineEnd else { return }
        skipBlanks()
        let name = metricName()
        if isAtLineEnd { return }
        guard isBlank(current) else { throw fault("invalid metric name in comment") }
        skipBlanks()
        let index = try family(named: name).index
        if isAtLineEnd { return }
        if word == "HELP" {
            guard families[index].help == nil else { throw fault("second HELP line for metric name '\(name)'") }
            families[index].help = try helpText()
        } else {
            guard families[index].kind == nil else {
                throw fault("second TYPE line for metric name '\(name)', or TYPE reported after samples")
            }
            let word = restOfLine()
            guard let kind = MetricFamily.Kind(rawValue: word.lowercased()) else { throw fault("unknown metric type '\(shown(word))'") }
            families[index].kind = kind
        }
    }

    private mutating func readSample() throws(FamilyFault) {
        let name = metricName()
        guard !name.isEmpty else { throw fault("invalid metric name") }
        let (index, part) = try family(named: name)
        try cost.addSample()
        let kind = families[index].kind ?? .untyped
        families[index].kind = kind
        skipBlanks()
        let (labels, point) = try labels(of: name, kind)
        let word = tokenRange()
        guard let value = FloatText.number(in: UnsafeRawBufferPointer(rebasing: text[word])) else {
            throw fault("expected float as value, got '\(shown(string(word)))'")
        }
        let hasTimestamp = try readTimestamp()
        switch kind {
        case .counter, .gauge, .untyped:
            families[index].metrics.append(Metric(labels: labels, value: .number(value), hasTimestamp: hasTimestamp))
        case .summary, .histogram:
            let place = place(of: labels, in: index, kind)
            if hasTimestamp { families[index].metrics[place].hasTimestamp = true }
            let (name, line) = (families[index].name, line)
            // Not a method: a copy of this reader would share the metrics, and make each line copy them.
            try Self.record(value, part, at: point, in: &families[index].metrics[place], of: name, kind, line: line)
        }
    }

    /// The metric of a summary or histogram with these labels, made when it is the first of its lines.
    private mutating func place(of labels: [Metric.Label], in index: Int, _ kind: MetricFamily.Kind) -> Int {
        let key = labels.sorted { $0.name < $1.name }
        if let place = families[index].places[key] { return place }
        let empty = Metric.Distribution()
        families[index].metrics.append(Metric(labels: labels, value: kind == .summary ? .summary(empty) : .histogram(empty)))
        families[index].places[key] = families[index].metrics.count - 1
        return families[index].metrics.count - 1
    }

    private static func record(
        _ value: Double, _ part: Part, at point: Double?, in metric: inout Metric, of name: String, _ kind: MetricFamily.Kind, line: Int
    ) throws(FamilyFault) {
        var distribution: Metric.Distribution
        switch metric.value {
        case .summary(let known), .histogram(let known): distribution = known
        case .number, nil: return
        }
        // Its buffer must have one owner while it grows.
        metric.value = nil
        switch part {
        case .count:
            if value < 0 { throw fault(line, "negative count for \(kind.rawValue) '\(name)'") }
            distribution.count = kind == .summary ? value.rounded(.towardZero) : value
        case .sum: distribution.sum = value
        case .plain:
            guard let point, !point.isNaN else { break }
            if kind == .histogram, value < 0 { throw fault(line, "negative bucket population for histogram '\(name)'") }
            distribution.points.append((point, value))
        }
        metric.value = kind == .summary ? .summary(distribution) : .histogram(distribution)
    }

    /// The family that a name of a line belongs to: its own, or the summary or histogram whose `_count`, `_sum` or `_bucket` it is.
    private mutating func family(named name: String) throws(FamilyFault) -> (index: Int, part: Part) {
        if let index = indexes[name] { return (index, .plain) }
        for (suffix, part, kinds) in Self.suffixes where name.utf8.count > suffix.utf8.count && name.hasSuffix(suffix) {
            guard let index = indexes[String(name.dropLast(suffix.count))], let kind = families[index].kind, kinds.contains(kind) else {
                continue
            }
            return (index, part)
        }
        try cost.addFamily(nameOf: name.utf8.count)
        indexes[name] = families.count
        families.append(Draft(name: name))
        return (families.count - 1, .plain)
    }

    private static let suffixes: [(String, Part, [MetricFamily.Kind])] = [
        ("_count", .count, [.summary, .histogram]), ("_sum", .sum, [.summary, .histogram]), ("_bucket", .plain, [.histogram]),
    ]

    // MARK: - Parts of a line

    /// - Returns: the labels, and the quantile of a summary or the bound of a histogram's bucket.
    private mutating func labels(of name: String, _ kind: MetricFamily.Kind) throws(FamilyFault) -> ([Metric.Label], Double?) {
        guard current == UInt8(ascii: "{") else { return ([], nil) }
        var labels: [Metric.Label] = []
        var names = Set<String>()
        var point: Double?
        position += 1
        while true {
            skipBlanks()
            if current == UInt8(ascii: "}") { break }
            let label = labelName()
            guard !label.isEmpty else { throw fault("invalid label name for metric '\(name)'") }
            skipBlanks()
            guard current == UInt8(ascii: "=") else { throw fault("expected '=' after label name '\(label)'") }
            guard label != "__name__" else { throw fault("label name '__name__' is reserved") }
            position += 1
            skipBlanks()
            guard current == UInt8(ascii: "\"") else { throw fault("expected '\"' at start of the value of label '\(label)'") }
            position += 1
            let value = try labelValue()
            if label == Self.pointLabel(of: kind) {
                guard let number = value.withBytes(FloatText.number) else {
                    throw fault("expected float as value for '\(label)' label, got '\(shown(value))'")
                }
                point = number
            } else {
                // Looking through few is quicker; through many it would take the square of their number.
                if labels.count == Self.fewLabels { names = Set(labels.map(\.name)) }
                let isNew = labels.count < Self.fewLabels ? !labels.contains { $0.name == label } : names.insert(label).inserted
                guard isNew else { throw fault("duplicate label names for metric '\(name)'") }
                labels.append(Metric.Label(name: label, value: value))
                try cost.addLabel(labels[labels.count - 1])
            }
            skipBlanks()
            if current == UInt8(ascii: "}") { break }
            guard current == UInt8(ascii: ",") else { throw fault("unexpected end of the value of label '\(label)'") }
            position += 1
        }
        position += 1
        skipBlanks()
        return (labels, point)
    }

    private static let fewLabels = 16

    private static func pointLabel(of kind: MetricFamily.Kind) -> String? {
        switch kind {
        case .summary: "quantile"
        case .histogram: "le"
        case .counter, .gauge, .untyped: nil
        }
    }

    /// - Returns: whether there is one.
    private mutating func readTimestamp() throws(FamilyFault) -> Bool {
        if isAtLineEnd { return false }
        skipBlanks()
        let word = token()
        guard Int64(word) != nil else { throw fault("expected integer as timestamp, got '\(shown(word))'") }
        guard isAtLineEnd else { throw fault("spurious string after timestamp: '\(shown(restOfLine()))'") }
        return true
    }

    private mutating func helpText() throws(FamilyFault) -> String {
        var bytes: [UInt8] = []
        while let byte = current, byte != newline {
            position += 1
            bytes.append(byte == UInt8(ascii: "\\") ? try escaped() : byte)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Up to the closing quote, which is consumed too.
    private mutating func labelValue() throws(FamilyFault) -> String {
        let start = position
        while let byte = current, byte != newline, byte != UInt8(ascii: "\\") {
            position += 1
            if byte == UInt8(ascii: "\"") { return string(start..<(position - 1)) }
        }
        // Most values have nothing that is escaped; only such a one is put together byte by byte.
        var bytes = Array(text[start..<position])
        while let byte = current, byte != newline {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"): bytes.append(try escaped())
            default: bytes.append(byte)
            }
        }
        throw fault("label value contains an unescaped line feed, or has no closing quote")
    }

    /// The byte that is meant by what follows a backslash.
    private mutating func escaped() throws(FamilyFault) -> UInt8 {
        let byte = current
        position += 1
        switch byte {
        case UInt8(ascii: "\\"), UInt8(ascii: "\""): return byte ?? 0
        case UInt8(ascii: "n"): return newline
        default: throw fault("invalid escape sequence: only \\\\, \\\" and \\n are known")
        }
    }

    private mutating func metricName() -> String { name(colons: true) }
    private mutating func labelName() -> String { name(colons: false) }

    private mutating func name(colons: Bool) -> String {
        let start = position
        guard let first = current, Name.isFirst(first, colons: colons) else { return "" }
        position += 1
        while let byte = current, Name.isNext(byte, colons: colons) { position += 1 }
        return string(start..<position)
    }

    /// Up to a blank or the end of the line.
    private mutating func token() -> String { string(tokenRange()) }

    private mutating func tokenRange() -> Range<Int> {
        let start = position
        while let byte = current, !isBlank(byte), byte != newline { position += 1 }
        return start..<position
    }

    private mutating func restOfLine() -> String {
        let start = position
        while let byte = current, byte != newline { position += 1 }
        return string(start..<position)
    }

    private mutating func skipBlanks() { while isBlank(current) { position += 1 } }

    private func string(_ range: Range<Int>) -> String { String(decoding: text[range], as: UTF8.self) }

    private var current: UInt8? { position < text.count ? text[position] : nil }
    private var isAtLineEnd: Bool { current == nil || current == newline }
    private func isBlank(_ byte: UInt8?) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
    private var newline: UInt8 { UInt8(ascii: "\n") }

    private func fault(_ what: String) -> FamilyFault { Self.fault(line, what) }

    private static func fault(_ line: Int, _ what: String) -> FamilyFault {
        .malformed("text format parsing error in line \(line): \(what)")
    }

    /// Words of the sender as messages show them: printable, and not long.
    private func shown(_ word: String) -> String {
        word.unicodeScalars.prefix(80).reduce(into: "") { result, scalar in
            if scalar.properties.generalCategory == .control {
                result += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
}

extension String {
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        var text = self
        return text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}
