/// One fault in the metrics of an app: where it is and what is wrong.
public struct Finding: Equatable, Sendable {
    /// What the fault means for a reader.
    public enum Severity: String, Equatable, Sendable {
        /// Prometheus refuses the whole scrape.
        case error
        /// Prometheus reads it; stricter readers or the description of the format refuse it.
        case warning
    }

    /// What the fault means for a reader.
    public var severity: Severity
    /// The line, from 1.
    public var line: Int
    /// The column from 1, in bytes of the text as it was sent.
    public var column: Int
    /// What is wrong and what to do, in lower case without a final period.
    public var message: String

    /// Makes a finding from its parts.
    public init(severity: Severity, line: Int, column: Int, message: String) {
        self.severity = severity
        self.line = line
        self.column = column
        self.message = message
    }
}

/// The findings of one text: the first ones, and the number of all.
public struct Findings: Equatable, Sendable {
    /// How many findings are kept. Errors are kept before warnings.
    public static let limit = 20

    /// The kept errors in the order of the text.
    private var keptErrors: [Finding] = []
    /// The kept warnings in the order of the text.
    private var keptWarnings: [Finding] = []
    /// The number of all errors.
    public private(set) var errors = 0
    /// The number of all warnings.
    public private(set) var warnings = 0

    /// Nothing was found.
    public init() {}

    /// Whether Prometheus reads the text.
    public var isValid: Bool { errors == 0 }

    /// The number of all findings, kept or not.
    public var count: Int { errors + warnings }

    /// The first error; `nil` for valid text.
    public var firstError: Finding? { keptErrors.first }

    /// At most `limit` findings in the order of the text.
    public var kept: [Finding] {
        let shown = keptErrors + keptWarnings.prefix(Findings.limit - keptErrors.count)
        return shown.sorted { ($0.line, $0.column) < ($1.line, $1.column) }
    }

    /// Whether one more finding of this severity would be kept.
    func keeps(_ severity: Finding.Severity) -> Bool {
        switch severity {
        case .error: keptErrors.count < Findings.limit
        case .warning: keptWarnings.count < Findings.limit
        }
    }

    /// Counts a finding, and keeps it if there is room. `finding` is called only then.
    mutating func add(_ severity: Finding.Severity, _ finding: () -> Finding) {
        switch severity {
        case .error:
            errors += 1
            if keeps(.error) { keptErrors.append(finding()) }
        case .warning:
            warnings += 1
            if keeps(.warning) { keptWarnings.append(finding()) }
        }
    }
}

/// Turns offsets into lines and columns. The offsets of one text come nearly in ascending order, so all of them together cost one pass.
struct Locator {
    private let text: UnsafeRawBufferPointer
    /// A known place: the line that begins at `lineStart`.
    private var lineStart = 0
    private var line = 1

    init(_ text: UnsafeRawBufferPointer) { self.text = text }

    /// The line and column, both from 1, of the byte at `offset`.
    mutating func place(of offset: Int) -> (line: Int, column: Int) {
        while lineStart > offset {
            // Back to the start of the line before.
            lineStart -= 1
            line -= 1
            while lineStart > 0, text[lineStart - 1] != UInt8(ascii: "\n") { lineStart -= 1 }
        }
        var index = lineStart
        while index < offset {
            if text[index] == UInt8(ascii: "\n") {
                line += 1
                lineStart = index + 1
            }
            index += 1
        }
        return (line, offset - lineStart + 1)
    }
}
