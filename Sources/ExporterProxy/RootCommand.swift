import ArgumentParser
import Proxy

/// Arguments in, exit code out: `main` decides nothing.
@main
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
