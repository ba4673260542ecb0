/// One fault in the metrics of an app: where it is and what is wrong.
public struct Finding: Equatable, Sendable {
    /// What the fault means for a reader.
    public enum Severity: String, Equatable, Sendable {
        /// Prometheus refuses the whole scrape.
        case error
        /// Prometheus reads it; stricter readers, or the format's own text, refuse it.
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

    /// A finding made of its parts.
    public init(severity: Severity, line: Int, column: Int, message: String) {
        self.severity = severity
        self.line = line
        self.column = column
        self.message = message
    }
}
