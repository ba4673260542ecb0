import TOML

/// Turns the text of `config.toml` into a `Config`, or into everything that is wrong with it. Reads no file and looks nothing up.
public struct ConfigDecoder: Sendable {
    /// The config file as the user named it; problems begin with it.
    private let file: String
    /// What relative paths in the file are relative to.
    private let folder: String

    /// - Parameters:
    ///   - file: the config file as the user named it.
    ///   - folder: the config file's folder as it was named; `"."` and `""` leave relative paths relative to the working directory.
    public init(file: String, folder: String) {
        self.file = file
        self.folder = folder
    }

    /// Every key that is accepted, by its dotted name, in the order of the reference; `[]` stands for each element of an array of
    /// tables (`poll_external.targets[].url`).
    public static var knownKeys: [String] { ConfigSchema.leafKeys }

    /// - Throws: all problems at once, in order of position, warnings among them.
    public func decode(_ text: [UInt8]) throws(ConfigProblems) -> DecodedConfig {
        let (decoded, problems) = try examine(text)
        guard !problems.holdError else { throw ConfigProblems(problems) }
        return decoded
    }

    /// What can be understood of a text that may be wrong: a value that cannot be used stands at its default in `decoded`, so that
    /// the files that the rest names can be looked at in the same run.
    /// - Returns: the problems in order of position, warnings among them.
    /// - Throws: when the text is not TOML at all.
    public func examine(_ text: [UInt8]) throws(ConfigProblems) -> (decoded: DecodedConfig, problems: [ConfigProblem]) {
        let document: TOMLDocument
        do {
            document = try TOMLDocument(parsing: text)
        } catch {
            let position = ConfigPosition(error.position)
            throw ConfigProblems([ConfigProblem(file: file, position: position, key: nil, message: error.message)])
        }

        var reader = ConfigReader(file: file, folder: folder, document: document)
        let draft = ConfigSchema.read(document.root, with: &reader)
        let config = draft.config(with: &reader)
        let problems = reader.sortedProblems
        let decoded = DecodedConfig(
            config: config, references: reader.references, origin: reader.origin,
            warnings: problems.filter { $0.severity == .warning }, isEmpty: !document.root.holdsValue)
        return (decoded, problems)
    }
}

extension TOMLTable {
    /// Whether any key has a value; headers alone do not count.
    fileprivate var holdsValue: Bool {
        entries.contains { entry in
            guard case .table(let table) = entry.node.value else { return true }
            return table.holdsValue
        }
    }
}
