import TOML

/// Decodes the text of `config.toml` into a `LoadedConfig`, or into all problems in it. It reads no file itself: a function provides the
/// contents of the files that the text names.
public struct ConfigDecoder {
    /// Returns the contents of the file at a path, which is resolved against the config file's folder.
    public typealias ReadFile = (_ path: String) -> Result<FileReading, FileReadError>

    /// The config file as the user named it; problems begin with it.
    private let file: String
    /// The folder at which relative paths in the file start.
    private let folder: String
    private let readFile: ReadFile

    /// - Parameters:
    ///   - file: the config file as the user named it.
    ///   - folder: the config file's folder as it was named; `"."` and `""` leave relative paths relative to the working directory.
    ///   - readFile: returns the contents of a file that is in use; without it, all files count as empty.
    public init(file: String, folder: String, readFile: @escaping ReadFile = { _ in .success(FileReading(bytes: [])) }) {
        self.file = file
        self.folder = folder
        self.readFile = readFile
    }

    /// - Parameter text: the file's contents; if every user of the system can read it, secrets in it cause warnings.
    /// - Throws: all problems at once, in order of position, warnings among them.
    public func decode(_ text: FileReading) throws(ConfigProblems) -> LoadedConfig {
        let (loaded, problems, _) = try examine(text)
        guard !problems.holdError else { throw ConfigProblems(problems) }
        return loaded
    }

    /// Decodes a text as far as possible: an invalid value has its default, and a file that cannot be read is empty, so that the rest can
    /// be checked in the same run. Never run such a configuration.
    /// - Returns: the configuration, the problems in order of position, warnings among them, and whether the text has no key at all.
    /// - Throws: when the text is not TOML.
    public func examine(
        _ text: FileReading
    ) throws(ConfigProblems) -> (loaded: LoadedConfig, problems: [ConfigProblem], isEmpty: Bool) {
        // Columns do not count a byte order mark.
        let bytes = Array(text.bytes.trimmingPrefix([0xEF, 0xBB, 0xBF]))
        let document: TOMLDocument
        do {
            document = try TOMLDocument(parsing: bytes)
        } catch {
            throw ConfigProblems([SyntaxErrorText.problem(error, in: bytes, of: file)])
        }

        var reader = ConfigReader(file: file, folder: folder, document: document, text: bytes, readFile: readFile)
        let draft = ConfigSchema.read(document.root, with: &reader)
        let config = draft.config(with: &reader)
        if text.isReadableByOthers { reader.warnOfSecrets() }
        let problems = reader.sortedProblems
        let loaded = LoadedConfig(
            config: config, origin: reader.finishedOrigin, warnings: problems.filter { $0.severity == .warning },
            settings: ConfigSettings(of: draft))
        return (loaded, problems, !document.root.holdsValue)
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

/// The state of one decoding: problems, positions, and the files that the configuration needs.
struct ConfigReader {
    let folder: String
    private var origin: ConfigOrigin
    private var problems: [ConfigProblem] = []
    private var errorCount = 0
    private var refusedKeys: Set<String> = []
    /// Keys whose values are secrets in the config file itself.
    private var secretKeys: [String] = []
    private let lines: [ArraySlice<UInt8>]
    private let readFile: ConfigDecoder.ReadFile
    /// Each file is read once, so that all keys that name it get the same contents.
    private var readings: [String: (path: String, result: Result<FileReading, FileReadError>)] = [:]

    init(file: String, folder: String, document: TOMLDocument, text: [UInt8], readFile: @escaping ConfigDecoder.ReadFile) {
        self.folder = folder
        self.origin = ConfigOrigin(file: file)
        self.lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        self.readFile = readFile
        recordPositions(of: document.root, under: "")
    }

    /// The origin of what was decoded.
    var finishedOrigin: ConfigOrigin {
        let start = ConfigPosition(line: 0, column: 0)
        var finished = origin
        finished.files.sort { (origin.positions[$0.key] ?? start) < (origin.positions[$1.key] ?? start) }
        return finished
    }

    /// Errors and warnings in the order of the file.
    var sortedProblems: [ConfigProblem] { problems.inOrderOfPosition }

    /// Whether the file has `key`, valid or not.
    func isGiven(_ key: String) -> Bool { origin.positions[key] != nil }

    /// Whether `key` has an error. If its value is wrong, another value, which the file does not have, is in its place.
    func isRefused(_ key: String) -> Bool { refusedKeys.contains(key) }

    /// The key in `table` that is to blame for a relation of two settings: the first that is given. `nil` if none is given there, and if a
    /// default is in the place of a wrong value.
    /// - Parameter general: the table whose values count for keys that `table` does not have.
    func keyToBlame(_ names: [String], in table: String, below general: String) -> String? {
        let hasDefault = names.contains { isRefused("\(table).\($0)") || isRefused("\(general).\($0)") }
        return hasDefault ? nil : names.map { "\(table).\($0)" }.first { isGiven($0) }
    }

    /// Whether one more error may get a suggestion. Each takes time, and of very many errors only the first by position are shown.
    var hasTimeForSuggestion: Bool { errorCount < 10 * ConfigProblem.mostShown }

    /// ` in line 5`, for messages that point to a second place; empty for a default.
    func line(of key: String) -> String { origin.positions[key].map { " in line \($0.line)" } ?? "" }

    /// The number at `position`, as it is written: `0o660`, `1_000`.
    func number(at position: TOMLPosition) -> String {
        guard lines.indices.contains(position.line - 1) else { return "" }
        let line = String(decoding: lines[position.line - 1], as: UTF8.self).unicodeScalars.dropFirst(position.column - 1)
        return String(line.prefix { $0.properties.numericType != nil || "+-_.".unicodeScalars.contains($0) || $0.properties.isAlphabetic })
    }

    /// Adds an error at the value of `key`, or at `position` if given.
    mutating func refuse(_ key: String, _ message: String, at position: TOMLPosition? = nil) {
        note(.error, key, message, at: position)
    }

    /// Adds a warning at the value of `key`.
    mutating func warn(_ key: String, _ message: String) {
        note(.warning, key, message, at: nil)
    }

    private mutating func note(_ severity: ConfigProblem.Severity, _ key: String, _ message: String, at position: TOMLPosition?) {
        var problem = origin.problem(key, message, severity: severity)
        if let position { problem.position = ConfigPosition(position) }
        problems.append(problem)
        guard severity == .error else { return }
        errorCount += 1
        refusedKeys.insert(key)
    }

    /// Records the path that `key` gives.
    mutating func notePath(_ key: String, _ path: String) { origin.paths.append(ConfigOrigin.NamedPath(key: key, path: path)) }

    /// Records the name of a cipher suite or curve that `key` gives.
    mutating func noteTLSName(_ key: String, _ kind: ConfigOrigin.NamedTLSName.Kind, _ name: String) {
        origin.tlsNames.append(ConfigOrigin.NamedTLSName(key: key, kind: kind, name: name))
    }

    /// Records the dotted key of a target.
    mutating func noteTarget(_ key: String, _ url: TargetURL) { origin.targets[url] = key }

    /// Records that the value of `key` is a secret.
    mutating func noteSecret(_ key: String) { secretKeys.append(key) }

    /// Warns that every user of the system can read the secrets in the file.
    mutating func warnOfSecrets() {
        let places = secretKeys.compactMap { key in origin.positions[key].map { (key, $0) } }
        guard let (key, _) = places.min(by: { $0.1 < $1.1 }) else { return }
        warn(key, "\(key) is a secret, and \(origin.file) can be read by every user of this machine: chmod o-r \(origin.file)")
    }

    /// The file that `key` names, with its contents. If it cannot be read, adds an error and returns it empty.
    mutating func file(_ key: String, _ path: String) -> FileContent {
        let content: FileContent
        switch read(path) {
        case nil:
            refuse(
                key,
                "\(key): the path \(path) differs from another one only in how an accent is written: "
                    + "write both in the same way, or rename one file")
            content = FileContent(path: path, bytes: [])
        case .success(let reading): content = FileContent(path: path, bytes: reading.bytes)
        case .failure(let error):
            refuse(key, "\(key): cannot read \(path): \(error)")
            content = FileContent(path: path, bytes: [])
        }
        origin.files.append(ConfigOrigin.NamedFile(key: key, content: content))
        return content
    }

    /// The secret file that `key` names. Warns when every user of the system can read it.
    mutating func secretFile(_ key: String, _ path: String) -> SecretFile {
        let content = file(key, path)
        if case .success(let reading) = read(path), reading.isReadableByOthers {
            warn(key, "\(key): \(path) can be read by every user of this machine: chmod o-r")
        }
        return SecretFile(path: path, bytes: content.bytes)
    }

    /// - Returns: `nil` if `String` takes another path for the same, which has other bytes: the files would be mistaken for each other.
    private mutating func read(_ path: String) -> Result<FileReading, FileReadError>? {
        if let known = readings[path] { return known.path.hasSameBytes(as: path) ? known.result : nil }
        let reading = readFile(path)
        readings[path] = (path, reading)
        return reading
    }

    private mutating func recordPositions(of table: TOMLTable, under path: String) {
        for entry in table.entries { recordPositions(of: entry.node, at: path.isEmpty ? entry.key : "\(path).\(entry.key)") }
    }

    private mutating func recordPositions(of node: TOMLNode, at path: String) {
        origin.positions[path] = ConfigPosition(node.position)
        switch node.value {
        case .table(let table): recordPositions(of: table, under: path)
        case .array(let elements):
            for (index, element) in elements.enumerated() { recordPositions(of: element, at: "\(path)[\(index)]") }
        default: break
        }
    }
}

extension ConfigPosition {
    init(_ position: TOMLPosition) { self.init(line: position.line, column: position.column) }
}

/// Adds the key, and a remedy if there is one, to the parser's message about a syntax error.
private enum SyntaxErrorText {
    static func problem(_ error: TOMLSyntaxError, in text: [UInt8], of file: String) -> ConfigProblem {
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).prefix(error.position.line)
        let line = lines.count == error.position.line ? lines.last : nil
        let key = line.flatMap { Self.key(in: $0, below: lines.dropLast()) ?? table(in: $0) }
        var message = error.message
        if let key {
            message = "\(key): \(message)"
            if key.hasSuffix("unix_socket_mode") { message = "\(key) must be three octal digits as text, in quotes, such as \"0660\"" }
        }
        return ConfigProblem(file: file, position: ConfigPosition(error.position), key: key, message: message)
    }

    /// The dotted name of the table that a line begins; `nil` for other lines and unknown tables.
    private static func table(in line: ArraySlice<UInt8>) -> String? {
        guard let name = header(in: line) else { return nil }
        return ConfigSchema.leafKeys.contains { $0.replacing("[]", with: "").hasPrefix("\(name).") } ? name : nil
    }

    /// The dotted key that a line sets; `nil` for a line that does not begin with a plain key.
    private static func key(in line: ArraySlice<UInt8>, below earlier: ArraySlice<ArraySlice<UInt8>>) -> String? {
        guard let match = String(decoding: line, as: UTF8.self).prefixMatch(of: #/\s*([A-Za-z0-9_.]+)\s*=/#) else { return nil }
        let table = earlier.lazy.reversed().compactMap(header).first
        let key = table.map { "\($0).\(match.1)" } ?? String(match.1)
        // A line within a multi-line string only looks like a key.
        let known = ConfigSchema.leafKeys.contains { $0.replacing("[]", with: "") == key }
        return known ? key : nil
    }

    /// The dotted name in a line that begins with `[`.
    private static func header(in line: ArraySlice<UInt8>) -> String? {
        // A regular expression for each line would take seconds for a large file.
        guard line.first(where: { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }) == UInt8(ascii: "[") else { return nil }
        return String(decoding: line, as: UTF8.self).prefixMatch(of: #/\s*\[+\s*([A-Za-z0-9_.]+)\s*\]/#).map { String($0.1) }
    }
}

/// The values of the file, before the rules that concern several of them.
struct ConfigDraft: Sendable {
    var exporter = ExporterDraft()
    var receiver = ReceiverDraft()
    var metrics = MetricsDraft()
    var poll = PollDraft()

    /// Makes the configuration, and adds a problem for each broken rule.
    func config(with reader: inout ConfigReader) -> Config {
        let scrapeAddresses = self.exporter.validAddresses(with: reader)
        Self.checkOverlaps(of: scrapeAddresses + self.receiver.validAddresses(with: reader), with: &reader)
        let receiver = self.receiver.config(with: &reader)
        let exporter = self.exporter.config(with: &reader)
        let metrics = self.metrics.config(with: &reader)
        let poll = self.poll.config(scrapeAddresses: scrapeAddresses, metrics: self.metrics, with: &reader)
        return Config(exporter: exporter, receiver: receiver, metrics: metrics, poll: poll)
    }
}

extension ConfigDraft {
    /// Refuses each listener that cannot be opened beside an earlier one.
    private static func checkOverlaps(of listeners: [Keyed<ListenAddress>], with reader: inout ConfigReader) {
        for (index, later) in listeners.enumerated() {
            let earlier = listeners[..<index].first { earlier in
                guard earlier.value.overlaps(later.value) else { return false }
                // A scrape address `[::]:P` leaves IPv4 to a `0.0.0.0:P` beside it.
                let areOfOneKey = [earlier, later].allSatisfy { $0.key.hasPrefix(ExporterDraft.addressKey) }
                return !areOfOneKey || Set([earlier.value.host, later.value.host]) != ["::", "0.0.0.0"]
            }
            guard let earlier else { continue }
            // Of an address that is given and a default, the given one is at fault.
            let (refused, other) = reader.isGiven(later.key) ? (later, earlier) : (earlier, later)
            reader.refuse(
                refused.key,
                "\(refused.key) \(refused.value) overlaps with \(other.key) \(other.value); each needs an address or port of its own")
        }
    }
}

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
            reader.refuse("metrics.app_label", MetricsDraft.labelsNeedChecks("metrics.app_label"))
            return config
        }
        config.appLabel = appLabel
        return config
    }

    /// Why `key` cannot be used with `validate = "off"`.
    static func labelsNeedChecks(_ key: String) -> String {
        "\(key) needs metrics.validate = \"report\" or \"refuse\": labels cannot be set on metrics that are not checked"
    }
}
