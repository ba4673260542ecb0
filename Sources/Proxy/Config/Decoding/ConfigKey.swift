import TOML

/// One row of a table's schema: a key, its allowed values, and its field in the draft.
struct ConfigKey<Draft>: Sendable {
    let name: String
    /// The names of the leaf keys in the value, relative to `name`; `[""]` for a leaf.
    let leaves: [String]
    /// Reads the value at the given dotted key.
    let read: @Sendable (TOMLNode, String, inout ConfigReader, inout Draft) -> Void
    /// The draft's settings for the given dotted key; none when the key has neither value nor default.
    private(set) var settings: @Sendable (Draft, String) -> [ConfigSetting]

    /// A key of a field that always has a value: its default stays when the value is wrong.
    init<Value>(_ name: String, _ kind: ConfigValue<Value>, _ field: any WritableKeyPath<Draft, Value> & Sendable) {
        self.name = name
        self.leaves = kind.leaves
        self.read = { node, key, reader, draft in
            if let value = kind.read(node, key, &reader) { draft[keyPath: field] = value }
        }
        self.settings = { draft, key in kind.settings(draft[keyPath: field], key) }
    }

    /// A key of a field that is `nil` until it is given.
    init<Value>(_ name: String, _ kind: ConfigValue<Value>, _ field: any WritableKeyPath<Draft, Value?> & Sendable) {
        self.name = name
        self.leaves = kind.leaves
        self.read = { node, key, reader, draft in
            if let value = kind.read(node, key, &reader) { draft[keyPath: field] = value }
        }
        self.settings = { draft, key in draft[keyPath: field].map { kind.settings($0, key) } ?? [] }
    }

    /// The same key, whose changes the log describes otherwise: as listeners that open and close, and targets that come and go.
    var describedElsewhere: ConfigKey {
        var key = self
        key.settings = { _, _ in [] }
        return key
    }
}

extension ConfigKey {
    /// Reads `table` by its schema into `draft`. A key that is not in the schema is a problem at that key.
    ///
    /// - Parameter holdsSecrets: whether an unknown key may be a secret that was put in the wrong place.
    static func read(
        _ table: TOMLTable, at path: String, schema: [ConfigKey], holdsSecrets: Bool = false, into draft: inout Draft,
        with reader: inout ConfigReader
    ) {
        for entry in table.entries {
            let key = path.isEmpty ? entry.key : "\(path).\(entry.key)"
            guard let row = schema.first(where: { $0.name == entry.key }) else {
                var suggestion = ""
                let names = schema.map(\.name)
                if reader.hasTimeForSuggestion, let text = KeySuggestion.suggestion(for: entry.key, in: path, siblings: names) {
                    suggestion = "; \(text)"
                }
                if ValueText.looksLikeKey(entry.key, strictly: holdsSecrets) {
                    reader.refuse(key, "unknown key \(key)\(suggestion)", at: entry.keyPosition)
                } else {
                    let place = path.isEmpty ? "at the top" : "in \(path)"
                    reader.refuse(
                        path, "unknown key \(place), whose name is not shown because it is unlike a key\(suggestion)", at: entry.keyPosition
                    )
                }
                continue
            }
            row.read(entry.node, key, &reader, &draft)
        }
    }
}

/// A kind of value: reads a value, or adds a problem.
struct ConfigValue<Value>: Sendable {
    /// See `ConfigKey.leaves`.
    var leaves = [""]
    /// `nil` when the value is wrong; the problem has been added then.
    let read: @Sendable (TOMLNode, String, inout ConfigReader) -> Value?
    /// What the log may show of a value at the given dotted key.
    let settings: @Sendable (Value, String) -> [ConfigSetting]

    /// - Parameter shown: how the log writes a value.
    init(
        shown: @escaping @Sendable (Value) -> ConfigSetting.Value,
        read: @escaping @Sendable (TOMLNode, String, inout ConfigReader) -> Value?
    ) {
        self.init(leaves: [""], read: read) { value, key in [ConfigSetting(key: key, value: shown(value))] }
    }

    init(
        leaves: [String], read: @escaping @Sendable (TOMLNode, String, inout ConfigReader) -> Value?,
        settings: @escaping @Sendable (Value, String) -> [ConfigSetting]
    ) {
        self.leaves = leaves
        self.read = read
        self.settings = settings
    }

    /// Why a value of the right type is not allowed.
    struct Mismatch: Error {
        /// What to do, appended to the message.
        var hint: String?
    }

    /// A single value.
    ///
    /// - Parameters:
    ///   - expected: completes "must be".
    ///   - example: as it is written in the file.
    ///   - isSecret: whether no message may show the value, right or wrong.
    ///   - text: how the log writes a value.
    ///   - convert: `nil` when the type is wrong.
    static func scalar(
        _ expected: String, example: String, isSecret: Bool = false, text: @escaping @Sendable (Value) -> String,
        _ convert: @escaping @Sendable (TOMLNode.Value, ConfigReader) throws(Mismatch) -> Value?
    ) -> ConfigValue {
        ConfigValue(shown: { isSecret ? .secret(text($0)) : .text(text($0)) }) { node, key, reader in
            var hint: String?
            do throws(Mismatch) {
                if let value = try convert(node.value, reader) { return value }
            } catch {
                hint = error.hint
            }
            let found = ValueText.describe(node.value, isSecret: isSecret)
            reader.refuse(
                key, "\(key) must be \(expected), such as \(example), not \(found)\(hint.map { "; \($0)" } ?? "")", at: node.position)
            return nil
        }
    }

    /// A table with a schema of its own. Each wrong or unknown key in it adds a problem and does not affect the other keys.
    static func table(
        _ schema: @autoclosure @escaping @Sendable () -> [ConfigKey<Value>], holdsSecrets: Bool = false,
        _ make: @escaping @Sendable (String) -> Value
    ) -> ConfigValue {
        ConfigValue(leaves: schema().flatMap { row in row.leaves.map { ".\(row.name)\($0)" } }) { node, key, reader in
            guard case .table(let table) = node.value else {
                let found = ValueText.describe(node.value, isSecret: true)
                // The header of a table within an array of tables has no number.
                let header = key.replacing(#/\[\d+\]/#, with: "")
                reader.refuse(key, "\(key) must be a table, such as [\(header)], not \(found)", at: node.position)
                return nil
            }
            var draft = make(key)
            ConfigKey.read(table, at: key, schema: schema(), holdsSecrets: holdsSecrets, into: &draft, with: &reader)
            return draft
        } settings: { draft, key in
            schema().flatMap { row in row.settings(draft, "\(key).\(row.name)") }
        }
    }

    /// An array whose elements `element` reads. Each wrong element adds a problem and is left out.
    ///
    /// - Parameter shown: how the log writes a value; `nil` if the log describes its changes otherwise.
    static func array<Element>(
        of element: ConfigValue<Element>, _ expected: String, example: String, shown: (@Sendable (Value) -> String)? = nil
    ) -> ConfigValue where Value == [Element] {
        ConfigValue(leaves: element.leaves.map { $0.isEmpty ? "" : "[]\($0)" }) { node, key, reader in
            guard case .array(let elements) = node.value else {
                let found = ValueText.describe(node.value, isSecret: true)
                reader.refuse(key, "\(key) must be \(expected), such as \(example), not \(found)", at: node.position)
                return nil
            }
            return elements.enumerated().compactMap { index, node in element.read(node, "\(key)[\(index)]", &reader) }
        } settings: { value, key in
            shown.map { [ConfigSetting(key: key, value: .text($0(value)))] } ?? []
        }
    }

    /// The same value with the dotted key at which it was found.
    var keyed: ConfigValue<Keyed<Value>> {
        ConfigValue<Keyed<Value>>(leaves: leaves) { [read] node, key, reader in
            read(node, key, &reader).map { Keyed(key: key, value: $0) }
        } settings: { [settings] value, _ in
            settings(value.value, value.key)
        }
    }
}

/// A value and its dotted key, for rules that compare several values.
struct Keyed<Value> {
    var key: String
    var value: Value
}

extension Keyed: Sendable where Value: Sendable {}
