import ArgumentParser
import Glibc
import Logging
import Proxy
import Services

/// The process: runs the command that the arguments name, and exits.
@main
enum Program {
    static func main() {
        openStandardDescriptors()
        // Swift reads the arguments from /proc. Without them, every command would be `serve`.
        guard CommandLine.argc > 0, !CommandLine.arguments.isEmpty else {
            printError("error: the arguments cannot be read: is /proc mounted?")
            exit(1)
        }
        // Swift replaces the bytes that are not UTF-8, so that two names could become one, and a file could not be found.
        for number in stride(from: 1, to: Int(CommandLine.argc), by: 1) {
            guard let argument = CommandLine.unsafeArgv[number], String(validatingCString: argument) == nil else { continue }
            RootCommand.exit(withError: ValidationError("argument \(number) is not valid UTF-8: write names of apps and files in UTF-8"))
        }
        // Before other threads are made.
        Signals.unblock()
        MainThread.run {
            do {
                try await Program.runCommand()
            } catch {
                RootCommand.exit(withError: error)
            }
        }
    }

    /// Runs the command that the arguments name. ArgumentParser throws help, version and completion scripts, and would not report that they
    /// cannot be written.
    private static func runCommand() async throws {
        do {
            var command = try RootCommand.parseAsRoot()
            if var command = command as? any AsyncParsableCommand { try await command.run() } else { try command.run() }
        } catch let error where RootCommand.exitCode(for: error).isSuccess {
            try printOutput(RootCommand.fullMessage(for: error) + "\n")
        }
    }

    /// Opens /dev/null for standard input, output and error if the program was started without them. Otherwise a file or a connection would
    /// get such a number, and log lines would be written to it.
    private static func openStandardDescriptors() {
        // Reading the first and writing to the second must still fail: a command must not take or lose its metrics silently.
        for (descriptor, access) in [(STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_WRONLY)]
        where fcntl(descriptor, F_GETFD) < 0 {
            // It gets the lowest free number, which is this one.
            _ = open("/dev/null", access)
        }
    }
}

/// Parses arguments and returns an exit code. `Services` makes the program's decisions.
struct RootCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exporter-proxy",
        abstract: "Exposes the Prometheus metrics of many applications through one port.",
        discussion: """
            Without a subcommand it serves, so the options of serve can be given at once:

              exporter-proxy [--config PATH] [--log-level LEVEL] [--log-format FORMAT]
            """,
        version: "exporter-proxy \(ProgramVersion.current)",
        subcommands: [ServeCommand.self, CheckCommand.self, PushCommand.self, LintCommand.self, PrometheusConfigCommand.self],
        defaultSubcommand: ServeCommand.self)
}

/// Runs in the foreground until SIGTERM or SIGINT.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run in the foreground: receive, poll, and serve /metrics (the default).")

    @OptionGroup var config: ConfigOptions
    @OptionGroup var log: LogOptions

    func run() async throws {
        let writer = try log.bootstrap()
        defer { writer.flush() }
        do {
            try await serve(configFile: config.file(), logger: Logger(label: "exporter-proxy"))
        } catch let problems as ConfigProblems {
            for problem in problems.problems.limited { write(problem.logLevel, "\(problem)", problem.logMetadata, to: writer) }
            throw ExitCode(1)
        } catch {
            // There is no configuration file, or the system lacks something.
            write(.error, "error: \(error)", [:], to: writer)
            throw ExitCode(1)
        }
    }

    /// Writes at every level, because the message explains why the program does not run.
    private func write(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata, to writer: LogWriter) {
        switch log.logFormat {
        // In the format of compilers, so that editors can jump to the position.
        case .text: writer.write("\(log.style.prefix(of: level))\(message)\n")
        case .json: writer.write(LineLogHandler.line(log.style, level, message, metadata))
        }
    }
}
