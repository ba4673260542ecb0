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
            writer.write(problems.description + "\n")
            throw ExitCode(1)
        }
    }
}
