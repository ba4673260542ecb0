import HTTP
import TOML

extension ConfigValue where Value == [String: BcryptHash] {
    /// A table of names and hashes. Messages show a name only if it cannot be a secret.
    static var users: Self {
        ConfigValue(shown: { .secret($0.map { "\($0.key):\($0.value.text)" }.sorted().joined(separator: "\n")) }) { node, key, reader in
            guard case .table(let table) = node.value else {
                let found = ValueText.describe(node.value, isSecret: true)
                reader.refuse(
                    key, "\(key) must be a table of names and bcrypt hashes, such as prometheus = \"$2y$10$…\", not \(found)",
                    at: node.position)
                return nil
            }
            var users: [String: BcryptHash] = [:]
            for entry in table.entries {
                guard !entry.key.isEmpty, !entry.key.holds(":"), !ValueText.hasControl(entry.key) else {
                    reader.refuse(
                        key, "\(key): a user's name is not empty and has neither a colon nor a control character", at: entry.keyPosition)
                    continue
                }
                // Swift takes two spellings of an accent for the same name.
                guard users[entry.key] == nil else {
                    reader.refuse(
                        key,
                        "\(key): this user has the name of an earlier one, with other Unicode characters for the same letters; "
                            + "remove one of them", at: entry.keyPosition)
                    continue
                }
                // The name may be a misplaced password.
                let shown = ValueText.looksLikeKey(entry.key, strictly: true) ? ValueText.quoted(entry.key) : "this user"
                guard case .string(let text) = entry.node.value else {
                    let found = ValueText.describe(entry.node.value, isSecret: true)
                    reader.refuse(key, "\(key): \(shown) must have a bcrypt hash, not \(found)", at: entry.node.position)
                    continue
                }
                do throws(BcryptHash.Malformed) {
                    users[entry.key] = try BcryptHash(parsing: text)
                    reader.noteSecret("\(key).\(entry.key)")
                } catch {
                    // The text is not shown: it may be the password itself.
                    reader.refuse(
                        key,
                        "\(key): \(shown) must have a bcrypt hash, such as \"htpasswd -nB\" prints after the colon\(error.hint.map { "; \($0)" } ?? "")",
                        at: entry.node.position)
                }
            }
            return users
        }
    }
}

extension ConfigValue where Value == [Target.Header] {
    /// A table of header names and values, without those that the client sets itself. A value is often a token, and may be in the wrong
    /// place. So messages show neither name nor value, but the table and the position.
    static var headers: Self {
        ConfigValue(shown: { .secret($0.map { "\($0.name): \($0.value)" }.joined(separator: "\n")) }) { node, key, reader in
            guard case .table(let table) = node.value else {
                let found = ValueText.describe(node.value, isSecret: true)
                reader.refuse(key, "\(key) must be a table of strings, such as { X-Tenant = \"a\" }, not \(found)", at: node.position)
                return nil
            }
            var headers: [Target.Header] = []
            for entry in table.entries {
                guard entry.key.isHTTPToken else {
                    reader.refuse(
                        key, "\(key): the name of a header consists of letters, digits and any of !#$%&'*+-.^_`|~", at: entry.keyPosition)
                    continue
                }
                let name = entry.key.lowercased()
                if let reason = Target.Header.setByClient[name] {
                    reader.refuse(key, "\(key): \(name) is set by the client itself\(reason)", at: entry.keyPosition)
                    continue
                }
                if headers.contains(where: { $0.name.lowercased() == name }) {
                    reader.refuse(
                        key, "\(key): a header is given twice; case does not count in names of headers", at: entry.keyPosition)
                    continue
                }
                guard case .string(let text) = entry.node.value else {
                    let found = ValueText.describe(entry.node.value, isSecret: true)
                    reader.refuse(
                        key, "\(key): the value of a header must be a string, such as \"a\", not \(found)", at: entry.node.position)
                    continue
                }
                // A tab is the only control character that a value may contain, RFC 9110 §5.5.
                guard !ValueText.hasControl(text.filter { $0 != "\t" }) else {
                    reader.refuse(key, "\(key): the value of a header holds a control character", at: entry.node.position)
                    continue
                }
                if name == "authorization" || name == "cookie" || name == "proxy-authorization" { reader.noteSecret("\(key).\(entry.key)") }
                headers.append(Target.Header(name: entry.key, value: text))
            }
            return headers
        }
    }
}

extension ConfigValue where Value == String {
    /// The name of a label to set.
    static func labelName(orEmpty: Bool = false) -> Self {
        .scalar("the name of a label", example: "\"app\"", text: { $0 }) { (value, _) throws(Mismatch) in
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
        ConfigValue(shown: { labels in
            .text("{ \(labels.map { "\($0.name) = \(ValueText.quoted($0.value))" }.joined(separator: ", ")) }")
        }) { node, key, reader in
            guard case .table(let table) = node.value else {
                let found = ValueText.describe(node.value)
                reader.refuse(key, "\(key) must be a table of strings, such as { env = \"prod\" }, not \(found)", at: node.position)
                return nil
            }
            var labels: [Target.Label] = []
            for entry in table.entries {
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

/// The allowed names of configured labels.
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
