import ArgumentParser
import Glibc
import Proxy
import Services

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
        do throws(ConfigProblems) {
            let loaded = try ConfigLoader(file: file).decode()
            print(ScrapeJobs(loaded.config.exporter, host: host, hostname: Self.hostname).yaml, terminator: "")
        } catch {
            printError("\(error)")
            throw ExitCode(1)
        }
    }

    private static func host(_ argument: String) throws -> String {
        // The port comes from the configuration.
        let isHost: (String) -> Bool = { (try? PushAddress("tcp://\($0):1")) != nil }
        // HOST:PORT has one colon, an IPv6 address two at least.
        guard isHost(argument) || (argument.count { $0 == ":" } > 1 && isHost("[\(argument)]")) else {
            throw ValidationError("it is a host name or an address, without a port")
        }
        return argument
    }

    private static var hostname: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0, name[0] != 0 else { return "localhost" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
