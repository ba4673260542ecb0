import ArgumentParser
import Glibc
import Logging
import Proxy
import Services

/// The process: runs the command that the arguments name, and exits.
@main
enum Program {
    static func main() {
        // Swift reads the arguments from /proc. Without them, every command would be `serve`.
        guard CommandLine.argc > 0, !CommandLine.arguments.isEmpty else {
            printError("error: the arguments cannot be read: is /proc mounted?")
            exit(1)
        }
        // Before other threads are made.
        Signals.unblock()
        MainThread.run { await RootCommand.main() }
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
        let file = try config.file()
        let writer = try log.bootstrap()
        defer { writer.flush() }
        do {
            try await serve(configFile: file, logger: Logger(label: "exporter-proxy"))
        } catch let problems as ConfigProblems {
            switch log.logFormat {
            // In the format of compilers, so that editors can jump to the position.
            case .text:
                for problem in problems.problems { writer.write("\(log.style.prefix(of: problem.logLevel))\(problem)\n") }
            // Printed at every level, as in text, because they explain why the program does not run.
            case .json:
                for problem in problems.problems {
                    writer.write(LineLogHandler.line(log.style, problem.logLevel, "\(problem)", problem.logMetadata))
                }
            }
            throw ExitCode(1)
        }
    }
}
