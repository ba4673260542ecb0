public import ArgumentParser
public import Proxy
import Services

/// Sends one app's metrics: for shell scripts and cron jobs.
struct PushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push",
        abstract: "Send the metrics of one app, from a file or standard input.",
        discussion: """
            They replace the app's old metrics whole. Exits with 0 when they are applied, silently; otherwise with 1 and the reason on standard error. Metrics that Prometheus would not read are not sent.

              backup-metrics | exporter-proxy push --app backup --to unix:/run/proxy.sock
            """)

    @Option(
        help: ArgumentHelp("The app's name: 1 to 256 bytes without control characters.", valueName: "name"),
        transform: PushCommand.appName)
    var app: AppName

    @Option(
        name: .customLong("to"),
        help: ArgumentHelp(
            "The receiver: unix:/path, tcp://host:port, tls://host:port, http://host:port or https://host:port.", valueName: "address"),
        transform: PushAddress.init)
    var address: PushAddress

    @Option(
        help: ArgumentHelp(
            "What the receiver takes (its key format): json, the default, or capnp. Over HTTP it is text.", valueName: "format"))
    var format: PushFormat?

    @Option(
        help: ArgumentHelp("With http:// and https://: the user of [receiver.basic_auth_users]; needs --password-file.", valueName: "name"))
    var user: String?

    @Option(
        help: ArgumentHelp("With http:// and https://: a file with the user's password.", valueName: "file"), completion: .file())
    var passwordFile: String?

    @Option(
        help: ArgumentHelp("With tls:// and https://: the authorities to trust, a PEM file. Without it: the system's.", valueName: "file"),
        completion: .file(extensions: ["pem", "crt"]))
    var caFile: String?

    @Option(
        help: ArgumentHelp(
            "With tls:// and https://: a client certificate and its intermediates, a PEM file; needs --key-file.", valueName: "file"),
        completion: .file(extensions: ["pem", "crt"]))
    var certFile: String?

    @Option(
        help: ArgumentHelp("With tls:// and https://: the client certificate's private key, a PEM file.", valueName: "file"),
        completion: .file(extensions: ["pem", "key"]))
    var keyFile: String?

    @Option(
        help: ArgumentHelp(
            "With tls:// and https://: the name to verify in the receiver's certificate, in place of the address's host.", valueName: "name"
        ))
    var serverName: String?

    @Option(
        help: ArgumentHelp(
            "The longest that connecting, sending and the receiver's answer may take together: seconds, or 500ms, 1m30s.",
            valueName: "duration"))
    var timeout = TimeoutArgument(duration: .seconds(30))

    @Option(
        help: ArgumentHelp(
            "How long to try again while nothing listens there, as while exporter-proxy restarts: seconds, or 500ms, 1m30s.",
            valueName: "duration"))
    var retryFor: DurationArgument?

    @Flag(name: .customLong("no-check"), help: "Send the metrics even if Prometheus would not read them.")
    var sendsUnchecked = false

    @Argument(help: "The metrics, in Prometheus's text format. Without it, or with -: standard input.", completion: .file())
    var file: String?

    func validate() throws {
        if address.isTLS {
            guard (certFile == nil) == (keyFile == nil) else {
                throw ValidationError("a client certificate needs both --cert-file and --key-file")
            }
        } else {
            let given = [("--ca-file", caFile), ("--cert-file", certFile), ("--key-file", keyFile), ("--server-name", serverName)]
            try refuse(given, "is for tls:// and https:// addresses")
        }
        if address.isHTTP {
            guard format == nil else {
                throw ValidationError("--format is not for http:// and https:// addresses: text is sent there as it is")
            }
            guard (user == nil) == (passwordFile == nil) else { throw ValidationError("a user needs both --user and --password-file") }
            guard user?.utf8.contains(UInt8(ascii: ":")) != true else { throw ValidationError("the name of a user has no colon") }
        } else {
            try refuse([("--user", user), ("--password-file", passwordFile)], "is for http:// and https:// addresses")
        }
    }

    private func refuse(_ given: [(option: String, value: String?)], _ reason: String) throws {
        guard let option = given.first(where: { $0.value != nil })?.option else { return }
        throw ValidationError("\(option) \(reason), but the address is \(address)")
    }

    func run() async throws {
        let tls = PushTLSOptions(caFile: caFile, certFile: certFile, keyFile: keyFile, serverName: serverName)
        let job = PushJob(
            app: app, format: format ?? .json, address: address, file: file == "-" ? nil : file, tls: tls,
            credentials: user.flatMap { user in passwordFile.map { (user, $0) } }, timeout: timeout.duration,
            retryTime: retryFor?.duration ?? .zero, sendsUnchecked: sendsUnchecked)
        do {
            try await push(job)
        } catch {
            for finding in error.findings { printError(finding) }
            printError("error: \(error)")
            throw ExitCode(1)
        }
    }

    private static func appName(_ argument: String) throws -> AppName {
        guard let name = AppName(argument) else {
            throw ValidationError("a name has 1 to \(AppName.maxLength) bytes and no control characters")
        }
        return name
    }
}

extension PushFormat: ExpressibleByArgument {}

/// A duration on the command line, as in the configuration: seconds, or a text with units.
struct DurationArgument: ExpressibleByArgument {
    var duration: Duration

    init?(argument: String) {
        guard let duration = Int(argument).map({ .seconds($0) }) ?? (try? DurationText.parse(argument)) else { return nil }
        guard duration >= .zero, duration <= DurationText.maximum else { return nil }
        self.duration = duration
    }
}

/// A duration on the command line that is not 0.
struct TimeoutArgument: ExpressibleByArgument {
    var duration: Duration

    init(duration: Duration) { self.duration = duration }

    init?(argument: String) {
        guard let duration = DurationArgument(argument: argument)?.duration, duration > .zero else { return nil }
        self.duration = duration
    }

    var defaultValueDescription: String { DurationText.text(duration) }
}

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
