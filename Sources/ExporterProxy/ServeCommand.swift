import ArgumentParser
import Logging
import Proxy
import Services

/// Runs in the foreground until SIGTERM or SIGINT.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run in the foreground: receive, poll, and serve /metrics (the default).")

    @OptionGroup var config: ConfigOptions
    @OptionGroup var log: LogOptions

    func run() async throws {
        let file = try config.file()
        let writer = log.bootstrap()
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
