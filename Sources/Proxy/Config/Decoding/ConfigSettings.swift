/// A key and its value, as the log shows them after a change.
struct ConfigSetting: Equatable, Sendable {
    enum Value: Equatable, Sendable {
        case text(String)
        /// Compared, and never shown.
        case secret(String)

        static func == (a: Value, b: Value) -> Bool {
            switch (a, b) {
            case (.text(let text), .text(let other)), (.secret(let text), .secret(let other)): text.hasSameBytes(as: other)
            default: false
            }
        }
    }

    var key: String
    var value: Value
}

/// Every setting of one file, in the order of the reference, including those at their default.
struct ConfigSettings: Equatable, Sendable {
    private var general: [ConfigSetting] = []
    /// The settings of each target, with keys relative to its table. A URL without a table has none but its user and password.
    private var targets: [TargetURL: [ConfigSetting]] = [:]

    /// No settings, for a configuration without a file.
    init() {}

    init(of draft: ConfigDraft) {
        general = ConfigSchema.root.flatMap { row in row.settings(draft, row.name) }
        let schema = ConfigSchema.target
        let listed = draft.poll.endpoints.filter { $0.value.userInfo != nil }.map { TargetDraft(key: $0.key, url: $0.value) }
        for target in draft.poll.targets + listed {
            guard let url = target.url?.url else { continue }
            targets[url] = schema.flatMap { row in row.settings(target, row.name) }
        }
    }

    /// One line for each setting that differs in `new`: `receiver.format: json -> capnp`.
    func changes(to new: ConfigSettings) -> [String] { Self.lines(general, new.general) }

    /// One line for each setting of a target that differs in `new`. Settings that it inherits are in `changes(to:)`.
    ///
    /// - Parameter name: the target's name in these lines.
    func changes(of url: TargetURL, named name: AppName, to new: ConfigSettings) -> [String] {
        Self.lines(targets[url] ?? [], new.targets[url] ?? []).map { "target \(name): \($0)" }
    }

    private static func lines(_ old: [ConfigSetting], _ new: [ConfigSetting]) -> [String] {
        let before = Dictionary(old.map { ($0.key, $0.value) }) { first, _ in first }
        let after = Set(new.map(\.key))
        let changed = new.compactMap { setting in line(setting.key, before[setting.key], setting.value) }
        return changed + old.filter { !after.contains($0.key) }.compactMap { line($0.key, $0.value, nil) }
    }

    private static func line(_ key: String, _ old: ConfigSetting.Value?, _ new: ConfigSetting.Value?) -> String? {
        guard old != new else { return nil }
        switch (old, new) {
        case (.secret, _), (_, .secret): return "\(key) has changed"
        default:
            let (before, after) = (text(old), text(new))
            // Where the texts are cut, they may look the same.
            return before.hasSameBytes(as: after) ? "\(key) has changed" : "\(key): \(before) -> \(after)"
        }
    }

    /// The longest text of a value in a line, in characters. A list may have thousands of elements.
    private static let maxLength = 1000

    private static func text(_ value: ConfigSetting.Value?) -> String {
        guard case .text(let text) = value else { return "not set" }
        if text.isEmpty { return "\"\"" }
        return text.utf8.count > maxLength && text.count > maxLength ? "\(text.prefix(maxLength))…" : text
    }
}
