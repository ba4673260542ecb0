import ArgumentParser
import Glibc
import Proxy

/// The process: runs the command that the arguments name, and exits.
@main
enum Program {
    static func main() {
        // libdispatch asks for a higher priority of its threads than an ordinary user may have, and writes a line to syslog each time.
        setenv("LIBDISPATCH_LOG", "NO", 0)
        // The task of an asynchronous `main`, which all others would inherit from, has a high priority.
        Task.detached(priority: .medium) {
            await RootCommand.main()
            exit(EXIT_SUCCESS)
        }
        while true { pause() }
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
