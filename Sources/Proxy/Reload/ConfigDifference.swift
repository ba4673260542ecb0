/// Says in words how two values of a configuration table differ, a line for each key. It finds the properties by reflection, so that a
/// setting that is added is told too. What may hold a secret is only said to have changed.
enum ConfigDifference {
    /// - Parameter path: what each line begins with: a table's dotted key, or who is meant.
    static func lines(_ path: String, _ old: Any, _ new: Any) -> [String] {
        let (before, after) = (Mirror(reflecting: old).children.map(\.self), Mirror(reflecting: new).children.map(\.self))
        return zip(before, after).flatMap { old, new -> [String] in
            guard let label = old.label, !isEqual(old.value, new.value) else { return [] }
            return describe("\(path).\(key(of: label))", old.value, new.value)
        }
    }

    private static func describe(_ key: String, _ old: Any, _ new: Any) -> [String] {
        if let old = old as? ListenerTLS, let new = new as? ListenerTLS { return describe(key, tls: old, new) }
        if let old = old as? TLSClientConfig, let new = new as? TLSClientConfig { return lines(key, old, new) }
        guard let before = text(old), let after = text(new) else { return ["\(key) has changed"] }
        return ["\(key): \(before) -> \(after)"]
    }

    private static func describe(_ key: String, tls old: ListenerTLS, _ new: ListenerTLS) -> [String] {
        let (before, after) = (old.parts, new.parts)
        let mode = before.word == after.word ? [] : ["\(key): \(before.word) -> \(after.word)"]
        guard let config = before.config, let newConfig = after.config else { return mode }
        return mode + lines(key.dropLast("tls".count) + "tls_server_config", config, newConfig)
    }

    /// A value that can be shown; `nil` when it must not be, or when there is no short way to say it.
    private static func text(_ value: Any) -> String? {
        switch value {
        case let value as Int: "\(value)"
        case let value as Bool: "\(value)"
        case let value as Duration: DurationText.text(value)
        case let value as ByteCount: "\(value.bytes) bytes"
        case let value as String: value
        case let value as Int?: value.map { "\($0)" } ?? "not set"
        case let value as String?: value ?? "not set"
        case let value as Duration?: value.map(DurationText.text) ?? "not set"
        case let value as any RawRepresentable<String>: value.rawValue
        default: nil
        }
    }

    private static func isEqual(_ old: Any, _ new: Any) -> Bool {
        guard let old = old as? any Equatable else { return false }
        return old.equals(new)
    }

    /// A property's name as its key is written: `idleTimeout` as `idle_timeout`, `clientCAFile` as `client_ca_file`.
    static func key(of property: String) -> String {
        switch property {
        case "interval": return "poll_interval"
        case "timeout": return "client_timeout"
        case "prefersServerCipherSuites": return "prefer_server_cipher_suites"
        default: break
        }
        let letters = Array(property)
        var key = ""
        for (index, letter) in letters.enumerated() {
            let follows = letters[(index + 1)...]
            // A word begins after a small letter, or with the last capital of several; a plural `s` makes no word.
            let beginsWord =
                index > 0 && letter.isUppercase
                && (!letters[index - 1].isUppercase || (follows.first?.isLowercase == true && follows.count > 1))
            key += beginsWord ? "_\(letter.lowercased())" : letter.lowercased()
        }
        return key
    }
}

extension Equatable {
    fileprivate func equals(_ other: Any) -> Bool { (other as? Self) == self }
}

extension ListenerTLS {
    /// As in the configuration.
    public var word: String { parts.word }

    fileprivate var parts: (word: String, config: TLSServerConfig?) {
        switch self {
        case .off: ("off", nil)
        case .required(let config): ("required", config)
        case .optional(let config): ("optional", config)
        }
    }
}
