import Exposition
import NIOCore

/// What `lint` says of one file of metrics, and `push` of those that it does not send.
public struct Lint: Sendable {
    /// `FILE:LINE:COLUMN: error: MESSAGE` for each finding that is kept, and how many more there are.
    public let lines: [String]
    /// Whether Prometheus reads the file.
    public let isValid: Bool

    /// Reads and checks a file, or standard input. Blocks until all of it is there.
    /// - Parameter file: `nil` is standard input, which is called `stdin`.
    /// - Throws: when it cannot be read.
    public init(file: String?) throws(PushFailure) {
        let metrics = try PushInput(file: file).read()
        self.init(metrics, name: file ?? "stdin")
    }

    /// Checks text that was read from `name`.
    init(_ metrics: ByteBuffer, name: String) {
        let survey = metrics.withUnsafeReadableBytes { Survey(of: $0) }
        let kept = survey.findings.kept
        var lines = kept.map { "\(name):\($0.line):\($0.column): \($0.severity.rawValue): \($0.message)" }
        if survey.findings.count > kept.count { lines.append("\(name): \(survey.findings.count - kept.count) more findings are not shown") }
        self.lines = lines
        self.isValid = survey.findings.isValid
    }
}
