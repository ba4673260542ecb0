import TOML

/// One row of a table's schema: a key, what its value may be, and where it goes in the draft.
struct ConfigKey<Draft>: Sendable {
    let name: String
    /// Names of the leaf keys that the value holds, relative to `name`; `[""]` for a leaf.
    let leaves: [String]
    /// Reads the value at the dotted key given.
    let read: @Sendable (TOMLNode, String, inout ConfigReader, inout Draft) -> Void

    /// A key of a field that always has a value: its default stays when the value is wrong.
    init<Value>(_ name: String, _ kind: ConfigValue<Value>, _ field: any WritableKeyPath<Draft, Value> & Sendable) {
        self.name = name
        self.leaves = kind.leaves
        self.read = { node, key, reader, draft in
            if let value = kind.read(node, key, &reader) { draft[keyPath: field] = value }
        }
    }

    /// A key of a field that is nil until it is given.
    init<Value>(_ name: String, _ kind: ConfigValue<Value>, _ field: any WritableKeyPath<Draft, Value?> & Sendable) {
        self.name = name
        self.leaves = kind.leaves
        self.read = { node, key, reader, draft in
            if let value = kind.read(node, key, &reader) { draft[keyPath: field] = value }
        }
    }
}

extension ConfigKey {
    /// Reads `table` by its schema into `draft`; a key that the schema lacks is a problem at that key.
    static func read(_ table: TOMLTable, at path: String, schema: [ConfigKey], into draft: inout Draft, with reader: inout ConfigReader) {
        for entry in table.entries {
            let key = path.isEmpty ? entry.key : "\(path).\(entry.key)"
            guard let row = schema.first(where: { $0.name == entry.key }) else {
                let suggestion = KeySuggestion.suggestion(for: entry.key, in: path, siblings: schema.map(\.name))
                let message = "unknown key \(ValueText.printable(key))\(suggestion.map { "; \($0)" } ?? "")"
                reader.refuse(key, message, at: entry.keyPosition)
                continue
            }
            row.read(entry.node, key, &reader, &draft)
        }
    }
}

/// What a key's value may be: reads it, or notes what is wrong with it.
struct ConfigValue<Value>: Sendable {
    /// See `ConfigKey.leaves`.
    var leaves = [""]
    /// Nil when the value is wrong, which has been noted then.
    let read: @Sendable (TOMLNode, String, inout ConfigReader) -> Value?

    /// Why a value of the right type is none of those allowed.
    struct Mismatch: Error {
        /// What to do, appended to the message.
        var hint: String?
    }

    /// A single value.
    ///
    /// - Parameters:
    ///   - expected: completes "must be".
    ///   - example: as it stands in the file.
    ///   - shown: a string as a message may show it; nil when it is a secret.
    ///   - convert: nil when the type is wrong.
    static func scalar(
        _ expected: String, example: String, shown: @escaping @Sendable (String) -> String? = { $0 },
        _ convert: @escaping @Sendable (TOMLNode.Value, ConfigReader) throws(Mismatch) -> Value?
    ) -> ConfigValue {
        ConfigValue { node, key, reader in
            var hint: String?
            do throws(Mismatch) {
                if let value = try convert(node.value, reader) { return value }
            } catch {
                hint = error.hint
            }
            let found = ValueText.describe(node.value, shown: shown)
            reader.refuse(
                key, "\(ValueText.printable(key)) must be \(expected), such as \(example), not \(found)\(hint.map { "; \($0)" } ?? "")",
                at: node.position)
            return nil
        }
    }

    /// A table with a schema of its own; wrong or unknown keys in it are noted one by one and leave the rest.
    static func table(_ schema: @autoclosure @escaping @Sendable () -> [ConfigKey<Value>], _ make: @escaping @Sendable (String) -> Value)
        -> ConfigValue
    {
        ConfigValue(leaves: schema().flatMap { row in row.leaves.map { ".\(row.name)\($0)" } }) { node, key, reader in
            guard case .table(let table) = node.value else {
                let found = ValueText.describe(node.value) { _ in nil }
                reader.refuse(key, "\(ValueText.printable(key)) must be a table, such as [\(key)], not \(found)", at: node.position)
                return nil
            }
            var draft = make(key)
            ConfigKey.read(table, at: key, schema: schema(), into: &draft, with: &reader)
            return draft
        }
    }

    /// An array, each element of it read by `element`; wrong elements are noted and left out.
    static func array<Element>(of element: ConfigValue<Element>, _ expected: String, example: String) -> ConfigValue
    where Value == [Element] {
        ConfigValue(leaves: element.leaves.map { $0.isEmpty ? "" : "[]\($0)" }) { node, key, reader in
            guard case .array(let elements) = node.value else {
                let found = ValueText.describe(node.value) { _ in nil }
                reader.refuse(key, "\(key) must be \(expected), such as \(example), not \(found)", at: node.position)
                return nil
            }
            return elements.enumerated().compactMap { index, node in element.read(node, "\(key)[\(index)]", &reader) }
        }
    }

    /// The same value with the dotted key at which it was found.
    var keyed: ConfigValue<Keyed<Value>> {
        ConfigValue<Keyed<Value>>(leaves: leaves) { [read] node, key, reader in
            read(node, key, &reader).map { Keyed(key: key, value: $0) }
        }
    }
}

/// A value and the dotted key that gave it, for rules that compare several.
struct Keyed<Value> {
    var key: String
    var value: Value
}

extension Keyed: Sendable where Value: Sendable {}
