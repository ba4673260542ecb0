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
        var separator = "{"
        for label in labels {
            append("\(separator)\(label.name)=\"")
            appendEscaped(label.value, quotes: true)
            append("\"")
            separator = ","
        }
        if let extra {
            append("\(separator)\(extra.name)=\"\(FloatText.text(of: extra.value))\"")
            separator = ","
        }
        if separator == "," { append("}") }
        append(" \(FloatText.text(of: value))\n")
    }

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Backslash and line feed, and the quote in label values, get a backslash.
    private mutating func appendEscaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\n"): append("\\n")
            case UInt8(ascii: "\"") where quotes: append("\\\"")
            default: bytes.append(byte)
            }
        }
    }
}
