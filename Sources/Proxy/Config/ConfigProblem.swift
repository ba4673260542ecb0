/// A problem in the configuration or in a file that it names.
public struct ConfigProblem: Error, Equatable, Sendable, CustomStringConvertible {
    /// How bad it is.
    public enum Severity: String, Equatable, Sendable {
        case error
        /// Logged; it does not stop a start or a reload.
        case warning
    }

    /// How many errors are shown, and how many warnings.
    static let mostShown = 100

    /// Whether it stops a start or a reload.
    public var severity: Severity
    /// The config file, as it was named.
    public var file: String
    /// The position in the file; `nil` when the problem has none, for example when the file is missing.
    public var position: ConfigPosition?
    /// The dotted key, `exporter.tls_server_config.cert_file`; `nil` for a syntax error.
    public var key: String?
    /// What is wrong and what to do, in lower case without a final period. Names the key.
    public var message: String

    /// Makes a problem from its parts; `ConfigOrigin.problem` fills in the position.
    public init(severity: Severity = .error, file: String, position: ConfigPosition?, key: String?, message: String) {
        self.severity = severity
        self.file = file
        self.position = position
        self.key = key
        self.message = message
    }

    /// `PATH:LINE:COLUMN: error: MESSAGE`, as compilers print it.
    public var description: String {
        guard let position else { return "\(file): \(severity.rawValue): \(message)" }
        return "\(file):\(position.line):\(position.column): \(severity.rawValue): \(message)"
    }
}

/// All problems that were found together; at least one of them is an error.
public struct ConfigProblems: Error, Equatable, Sendable, CustomStringConvertible {
    /// In the order in which to show them.
    public var problems: [ConfigProblem]

    /// All of them; never empty.
    public init(_ problems: [ConfigProblem]) { self.problems = problems }

    /// One problem a line, as many as are shown.
    public var description: String { problems.limited.map(\.description).joined(separator: "\n") }
}

extension [ConfigProblem] {
    /// Whether one of them stops a start or a reload.
    public var holdError: Bool { contains { $0.severity == .error } }

    /// Those to show: the first hundred errors, the first hundred warnings, and for each of both a last one with the number of the others. A
    /// wrong file has as many errors as keys.
    public var limited: [ConfigProblem] {
        guard count > ConfigProblem.mostShown else { return self }
        var shown: [ConfigProblem] = []
        var counts: [ConfigProblem.Severity: Int] = [:]
        var last: [ConfigProblem.Severity: Int] = [:]
        for problem in self {
            counts[problem.severity, default: 0] += 1
            guard last[problem.severity] == nil else { continue }
            if counts[problem.severity] == ConfigProblem.mostShown + 1 { last[problem.severity] = shown.count }
            shown.append(problem)
        }
        for (severity, index) in last {
            shown[index].key = nil
            shown[index].message = "… and \((counts[severity] ?? 0) - ConfigProblem.mostShown) more"
        }
        return shown
    }

    /// In the order of their positions, those without one first. Problems with the same position keep their order.
    public var inOrderOfPosition: [ConfigProblem] {
        let start = ConfigPosition(line: 0, column: 0)
        // The standard library's sort is stable.
        return sorted { ($0.position ?? start) < ($1.position ?? start) }
    }
}

/// A position in the config file. Lines and columns count from 1, columns in characters.
public struct ConfigPosition: Hashable, Sendable, Comparable {
    /// The line, from 1.
    public var line: Int
    /// The column in characters, from 1.
    public var column: Int

    /// Makes a position; both numbers count from 1.
    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    /// Whether `a` comes before `b` in the file.
    public static func < (a: ConfigPosition, b: ConfigPosition) -> Bool { (a.line, a.column) < (b.line, b.column) }
}
