public import Logging
public import Proxy

extension ConfigProblem {
    /// How loud it is in a log.
    public var logLevel: Logger.Level {
        switch severity {
        case .error: .error
        case .warning: .warning
        }
    }

    /// What a log says beside its words.
    public var logMetadata: Logger.Metadata { key.map { [LogKey.key: "\($0)"] } ?? [:] }
}

extension Logger {
    /// One line for a problem: its place and words, and its key.
    func log(_ problem: ConfigProblem) { log(level: problem.logLevel, "\(problem)", metadata: problem.logMetadata) }
}
