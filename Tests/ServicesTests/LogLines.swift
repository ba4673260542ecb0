import Logging
import Synchronization

/// What was logged, line by line, for tests that look at it.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    /// Each line: level, message, and metadata by key.
    var all: [String] { lines.withLock { $0 } }

    var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
            let line = "\(event.level) \(event.message)" + all.map { " \($0.key)=\($0.value)" }.joined()
            lines.lines.withLock { $0.append(line) }
        }
    }
}
