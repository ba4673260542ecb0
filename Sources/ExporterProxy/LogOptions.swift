public import ArgumentParser
import Glibc
public import Logging

/// How and how much to log, as every command that logs takes it.
struct LogOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The least severe level that is logged: trace, debug, info, notice, warning, error or critical. The environment variable LOG_LEVEL sets the default.",
            valueName: "level"))
    var logLevel: Logger.Level?

    @Option(help: ArgumentHelp("One line per event for people (text), or one JSON object per line (json).", valueName: "format"))
    var logFormat = LogFormat.text

    func validate() throws {
        if logLevel == nil, let name = LogOptions.environmentLevel, Logger.Level(argument: name) == nil {
            throw ValidationError(
                "the environment variable LOG_LEVEL is '\(name)'; it takes \(LogOptions.levels)")
        }
    }

    /// Makes standard error the place where all logs go. Call once.
    func bootstrap() -> LogWriter {
        let level = logLevel ?? LogOptions.environmentLevel.flatMap { Logger.Level(argument: $0) } ?? .info
        let format = logFormat
        let writer = LogWriter {
            LineLogHandler.line(format, .warning, "log lines dropped: standard error was not read", ["count": "\($0)"])
        }
        LoggingSystem.bootstrap { _ in LineLogHandler(format: format, level: level, writer: writer) }
        return writer
    }

    private static let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")

    private static var environmentLevel: String? {
        guard let value = getenv("LOG_LEVEL"), value.pointee != 0 else { return nil }
        return String(cString: value)
    }
}

extension Logger.Level: @retroactive ExpressibleByArgument {
    /// Accepts any letter case.
    public init?(argument: String) {
        self.init(rawValue: argument.lowercased())
    }
}

/// The shape of a log line.
enum LogFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case text
    case json
}
