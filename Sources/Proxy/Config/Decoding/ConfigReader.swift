import TOML

/// What one decoding gathers on its way: problems, positions, and the files that the configuration needs.
struct ConfigReader {
    let folder: String
    private(set) var origin: ConfigOrigin
    private(set) var references: [FileReference] = []
    private var problems: [ConfigProblem] = []

    init(file: String, folder: String, document: TOMLDocument) {
        self.folder = folder
        self.origin = ConfigOrigin(file: file)
        recordPositions(of: document.root, under: "")
    }

    /// Errors and warnings as they stand in the file.
    var sortedProblems: [ConfigProblem] { problems.inOrderOfPosition }

    /// Whether the file has `key`, valid or not.
    func isGiven(_ key: String) -> Bool { origin.positions[key] != nil }

    /// ` in line 5`, for messages that point to a second place; empty for a default.
    func line(of key: String) -> String { origin.positions[key].map { " in line \($0.line)" } ?? "" }

    /// Notes an error at the value of `key`, or at `position` when given.
    mutating func refuse(_ key: String, _ message: String, at position: TOMLPosition? = nil) {
        note(.error, key, message, at: position)
    }

    /// Notes a warning at the value of `key`.
    mutating func warn(_ key: String, _ message: String) {
        note(.warning, key, message, at: nil)
    }

    private mutating func note(_ severity: ConfigProblem.Severity, _ key: String, _ message: String, at position: TOMLPosition?) {
        var problem = origin.problem(key, message, severity: severity)
        if let position { problem.position = ConfigPosition(position) }
        problems.append(problem)
    }

    /// Says that the configuration needs the file at `path`; nothing when `path` is nil.
    mutating func reference(_ key: String, _ path: String?) {
        guard let path else { return }
        let place = origin.positions[key] ?? ConfigPosition(line: 0, column: 0)
        let later = references.firstIndex { origin.positions[$0.key].map { place < $0 } ?? false }
        references.insert(FileReference(key: key, path: path), at: later ?? references.endIndex)
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
