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
            // As compilers print them, so that editors can jump to the place.
            case .text:
                for problem in problems.problems { writer.write("\(log.style.prefix(of: problem.logLevel))\(problem)\n") }
            // Whatever the level, as in text: they say why the program does not run.
            case .json:
                for problem in problems.problems {
                    writer.write(LineLogHandler.line(log.style, problem.logLevel, "\(problem)", problem.logMetadata))
                }
            }
            throw ExitCode(1)
        }
    }
}
