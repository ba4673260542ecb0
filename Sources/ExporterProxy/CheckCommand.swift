import ArgumentParser
import Proxy
import Services

/// Says what is wrong with a configuration, without running it.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validate the configuration and every file, user and group that it names.",
        discussion: """
            Opens no port and starts nothing, so it may run beside a running exporter-proxy. Every problem is a line on standard error, PATH:LINE:COLUMN: error: MESSAGE. Exits with 1 when there is one; warnings alone leave 0.
            """)

    @OptionGroup var config: ConfigOptions

    func run() throws {
        let file = try config.file()
        let problems = ConfigLoader(file: file).check()
        for problem in problems { printError("\(problem)") }
        guard !problems.holdError else { throw ExitCode(1) }
        print("\(file): OK")
    }
}
