public import ArgumentParser
import Glibc
public import Logging
import Services

/// The option for the configuration file, for every command that reads one.
struct ConfigOptions: ParsableArguments {
    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "The configuration file. Without it: ./config.toml, then /etc/exporter-proxy/config.toml.", valueName: "path"),
        completion: .file(extensions: ["toml"]))
    var config: String?

    private static let defaults = ["./config.toml", "/etc/exporter-proxy/config.toml"]

    /// The file to read. A named file is returned without a check; reading it reports an error.
    /// - Throws: when no file is named and no default file exists.
    func file() throws -> String {
        if let config { return config }
        // The next file is used only if this one is missing: a file that cannot be read must not be skipped silently.
        // Neither must a link that leads nowhere.
        var status = stat()
        guard let file = ConfigOptions.defaults.first(where: { lstat($0, &status) == 0 || errno != ENOENT }) else {
            throw NoConfigFile(
                description:
                    "no configuration file: neither ./config.toml nor /etc/exporter-proxy/config.toml is there; name one with --config PATH"
            )
        }
        return file
    }
}

struct NoConfigFile: Error, CustomStringConvertible {
    var description: String
}

/// The options for logging, for every command that logs.
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

    /// Directs all logs to standard error. Call once.
    /// - Throws: when the system grants no thread for it.
    func bootstrap() throws -> LogWriter {
        let level = logLevel ?? LogOptions.environmentLevel.flatMap { Logger.Level(argument: $0) } ?? .info
        let style = style
        let writer = try LogWriter(to: STDERR_FILENO) {
            LineLogHandler.line(style, .warning, "log lines dropped: standard error was not read", ["count": "\($0)"])
        }
        LoggingSystem.bootstrap { _ in LineLogHandler(style: style, level: level, writer: writer) }
        return writer
    }

    /// The format of lines.
    var style: LogStyle { LogStyle(format: logFormat, hasPriorities: LogStyle.journalReadsStandardError) }

    private static let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")

    private static var environmentLevel: String? {
        guard let value = getenv("LOG_LEVEL"), value.pointee != 0 else { return nil }
        return String(cString: value)
    }
}

extension Logger.Level: @retroactive ExpressibleByArgument {
    /// Accepts upper and lower case.
    public init?(argument: String) {
        self.init(rawValue: argument.lowercased())
    }
}

/// The shape of a log line.
enum LogFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case text
    case json
}

/// The format of log lines.
struct LogStyle: Sendable {
    var format: LogFormat
    /// Whether each line begins with its priority, `<3>`, which the journal removes (sd-daemon(3)).
    var hasPriorities = false

    /// The prefix of lines of this level.
    func prefix(of level: Logger.Level) -> String {
        guard hasPriorities else { return "" }
        return switch level {
        case .critical: "<2>"
        case .error: "<3>"
        case .warning: "<4>"
        case .notice: "<5>"
        case .info: "<6>"
        case .debug, .trace: "<7>"
        }
    }

    /// Whether standard error is a stream of the journal, which systemd names in `JOURNAL_STREAM` (systemd.exec(5)).
    static var journalReadsStandardError: Bool {
        guard let stream = getenv("JOURNAL_STREAM") else { return false }
        var status = stat()
        return fstat(STDERR_FILENO, &status) == 0 && String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
    }
}

/// Writes a command's result to standard output, at once.
/// - Throws: the exit code 1 if not all was written, after a line on standard error.
func printOutput(_ text: String) throws(ExitCode) {
    var text = text
    let failure = text.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDOUT_FILENO) }
    guard failure != 0 else { return }
    printError("error: cannot write to standard output: \(SystemError.text(failure))")
    throw ExitCode(1)
}

/// Prints a line on standard error, at once.
func printError(_ line: String) {
    var line = line + "\n"
    _ = line.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
}
