/// Writes metric families as text format 0.0.4.
struct FamilyText {
    private(set) var bytes: [UInt8] = []

    /// Appends one family whose metrics have passed `GroupLabels.apply`.
    mutating func write(_ family: MetricFamily) {
        if let help = family.help {
            append("# HELP \(family.name) ")
            appendEscaped(help, quotes: false)
            append("\n")
        }
        append("# TYPE \(family.name) \(family.kind.rawValue)\n")
        for metric in family.metrics { write(metric, of: family.name) }
    }

    private mutating func write(_ metric: Metric, of name: String) {
        switch metric.value {
        case .number(let value):
            sample(name, metric.labels, value: value)
        case .summary(let summary):
            for point in summary.points { sample(name, metric.labels, extra: ("quantile", point.at), value: point.value) }
            sample(name + "_sum", metric.labels, value: summary.sum)
            sample(name + "_count", metric.labels, value: summary.count)
        case .histogram(let histogram):
            for point in histogram.points { sample(name + "_bucket", metric.labels, extra: ("le", point.at), value: point.value) }
            if !histogram.points.contains(where: { $0.at == .infinity }) {
                sample(name + "_bucket", metric.labels, extra: ("le", .infinity), value: histogram.count)
            }
            sample(name + "_sum", metric.labels, value: histogram.sum)
            sample(name + "_count", metric.labels, value: histogram.count)
        case nil:
            break
        }
    }

    private mutating func sample(_ name: String, _ labels: [Metric.Label], extra: (name: String, value: Double)? = nil, value: Double) {
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
            append(FloatText.text(of: extra.value))
            bytes.append(UInt8(ascii: "\""))
            separator = UInt8(ascii: ",")
        }
        if separator == UInt8(ascii: ",") { bytes.append(UInt8(ascii: "}")) }
        bytes.append(UInt8(ascii: " "))
        append(FloatText.text(of: value))
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { bytes.append(contentsOf: $0) }
    }

    /// Appends the text with a backslash before each backslash and line feed, and in label values before each quote.
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
