import TOML

/// The table `[metrics]`.
struct MetricsDraft: Sendable {
    var validate = MetricsValidation.report
    /// Empty means none.
    var appLabel = ""

    func config(with reader: inout ConfigReader) -> MetricsConfig {
        var config = MetricsConfig()
        config.validate = validate
        guard !appLabel.isEmpty else { return config }
        if validate == .off {
            let key = "metrics.app_label"
            reader.refuse(
                key, "\(key) needs metrics.validate = \"report\" or \"refuse\": labels cannot be set on metrics that are not checked")
            return config
        }
        config.appLabel = appLabel
        return config
    }
}

extension ConfigValue where Value == String {
    /// The name of a label to set.
    static func labelName(orEmpty: Bool = false) -> Self {
        .scalar("the name of a label", example: "\"app\"") { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            if orEmpty, text.isEmpty { return text }
            if let fault = LabelName.fault(in: text) { throw Mismatch(hint: fault) }
            return text
        }
    }
}

extension ConfigValue where Value == [Target.Label] {
    /// A table of label names and values, in the order of the file.
    static var labels: Self {
        ConfigValue { node, key, reader in
            guard case .table(let table) = node.value else {
                let found = ValueText.describe(node.value)
                reader.refuse(key, "\(key) must be a table of strings, such as { env = \"prod\" }, not \(found)", at: node.position)
                return nil
            }
            var labels: [Target.Label] = []
            for entry in table.entries.sorted(by: { ConfigPosition($0.keyPosition) < ConfigPosition($1.keyPosition) }) {
                let entryKey = "\(key).\(entry.key)"
                let shown = ValueText.quoted(entry.key)
                if let fault = LabelName.fault(in: entry.key) {
                    reader.refuse(entryKey, "\(key): \(shown) is not the name of a label: \(fault)", at: entry.keyPosition)
                    continue
                }
                guard case .string(let value) = entry.node.value else {
                    let found = ValueText.describe(entry.node.value)
                    reader.refuse(entryKey, "\(key): \(shown) must be a string, such as \"prod\", not \(found)", at: entry.node.position)
                    continue
                }
                guard !value.unicodeScalars.contains("\0") else {
                    reader.refuse(entryKey, "\(key): the value of \(shown) holds a NUL byte", at: entry.node.position)
                    continue
                }
                labels.append(Target.Label(name: entry.key, value: value))
            }
            return labels
        }
    }
}

/// What a configured label may be named.
enum LabelName {
    /// Why `name` cannot be set on samples; `nil` when it can.
    static func fault(in name: String) -> String? {
        guard let first = name.utf8.first else { return "it is empty" }
        let isDigit = { (byte: UInt8) in (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
        let isLetter = { (byte: UInt8) in
            byte == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        }
        guard isLetter(first), name.utf8.allSatisfy({ isLetter($0) || isDigit($0) }) else {
            return "it takes the letters a-z and A-Z, digits and _, and does not begin with a digit"
        }
        if name.hasPrefix("__") { return "names that begin with __ are Prometheus's own" }
        if name == "le" || name == "quantile" { return "histograms and summaries need this label" }
        return nil
    }
}
