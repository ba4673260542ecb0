import ArgumentParser
import Services

/// Reports the problems of metrics, without sending them.
struct LintCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lint",
        abstract: "Check metrics in Prometheus's text format.",
        discussion: """
            Every finding is a line on standard error, FILE:LINE:COLUMN: error: MESSAGE. An error is what makes Prometheus refuse the whole scrape; a warning is what Prometheus reads, but stricter readers refuse. Exits with 1 when there is an error or a file cannot be read; warnings alone leave 0.

              curl -s localhost:9100/metrics | exporter-proxy lint
            """)

    @Argument(help: "The files to check. Without one, or with -: standard input, called stdin.", completion: .file())
    var file: [String] = []

    func run() throws {
        var isValid = true
        for file in file.isEmpty ? ["-"] : file {
            do {
                let lint = try Lint(file: file == "-" ? nil : file)
                for line in lint.lines { printError(line) }
                isValid = isValid && lint.isValid
            } catch {
                printError("error: \(error)")
                isValid = false
            }
        }
        guard isValid else { throw ExitCode(1) }
    }
}
