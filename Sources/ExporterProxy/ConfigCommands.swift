import ArgumentParser
import Glibc
import Proxy
import Services

/// Reports the problems of a configuration, without running it.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validate the configuration and every file, user and group that it names.",
        discussion: """
            Also finds what would make a start fail: an address that cannot be bound, a folder in which no socket can be made. Starts nothing, so it may run beside a running exporter-proxy. Every problem is a line on standard error, PATH:LINE:COLUMN: error: MESSAGE. Exits with 1 when there is one; warnings alone leave 0.
            """)

    @OptionGroup var config: ConfigOptions

    @Option(
        help: ArgumentHelp(
            "The user that the program will run as: files, folders and ports are tried with that user's rights. Needs root.",
            valueName: "name"))
    var user: String?

    func run() throws {
        let file = try config.file()
        var holders: SocketHolders?
        if let user {
            // Other users may not see what holds a port.
            holders = SocketHolders()
            do throws(UserError) {
                try become(user)
            } catch {
                printError("error: \(error)")
                throw ExitCode(1)
            }
        }
        let problems = ConfigLoader(file: file).check(holders)
        for problem in problems { printError("\(problem)") }
        guard !problems.holdError else { throw ExitCode(1) }
        try printOutput("\(file): OK\n")
    }

    private struct UserError: Error, CustomStringConvertible {
        var description: String
    }

    /// Takes the rights of another user. This cannot be undone; the process only checks and ends.
    private func become(_ name: String) throws(UserError) {
        errno = 0
        guard let entry = getpwnam(name) else { throw UserError(description: "--user: unknown user \(name)") }
        let (user, group) = (entry.pointee.pw_uid, entry.pointee.pw_gid)
        guard user != geteuid() else { return }
        guard geteuid() == 0 else { throw UserError(description: "--user \(name) needs the rights of root") }
        guard initgroups(name, group) == 0, setgid(group) == 0, setuid(user) == 0 else {
            throw UserError(description: "--user \(name): cannot switch to this user: \(SystemError.text(errno))")
        }
    }
}

/// Prints the jobs for prometheus.yml.
struct PrometheusConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prometheus-config",
        abstract: "Print the scrape_configs entry for Prometheus that fits the configuration.",
        discussion: """
            With scheme, TLS and basic auth as the configuration has them; files and passwords are placeholders. promtool check config accepts it as it is.
            """)

    @OptionGroup var config: ConfigOptions

    @Option(
        help: ArgumentHelp(
            "The name or address under which Prometheus reaches this machine. Without it: the address that is listened on, or this machine's name.",
            valueName: "host"),
        transform: PrometheusConfigCommand.host)
    var host: String?

    func run() throws {
        let file = try config.file()
        let loaded: LoadedConfig
        do throws(ConfigProblems) {
            loaded = try ConfigLoader(file: file).decode()
        } catch {
            printError("\(error)")
            throw ExitCode(1)
        }
        try printOutput(ScrapeJobs(loaded.config.exporter, host: host, hostname: Self.hostname).yaml)
    }

    private static func host(_ argument: String) throws -> String {
        do throws(TargetURL.Malformed) {
            return try ScrapeJobs.host(argument)
        } catch {
            throw ValidationError("it is a host name or an address, without a port: \(error.reason)")
        }
    }

    private static var hostname: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0, name[0] != 0 else { return "localhost" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
