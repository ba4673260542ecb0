import Foundation
import TestSupport
import Testing

private func program(_ arguments: String..., environment: [String: String] = [:]) async throws -> ProgramResult {
    try await run(ProxyProcess.executable, arguments, environment: environment)
}

@Test("--version and --help print to standard output and exit 0")
func versionAndHelp() async throws {
    let version = try await program("--version")
    #expect(version.succeeded)
    #expect(version.output.hasPrefix("exporter-proxy "))
    let help = try await program("--help")
    #expect(help.succeeded)
    for word in ["serve", "--config", "--log-level", "--log-format"] { #expect(help.output.contains(word), "\(word)") }
}

@Test(
    "usage errors exit 64",
    arguments: [
        ["--no-such-option"], ["no-such-command"], ["--log-level", "loud"], ["--log-format", "xml"], ["serve", "extra"], ["--config"],
    ])
func usageErrorsExit64(arguments: [String]) async throws {
    let result = try await run(ProxyProcess.executable, arguments)
    #expect(result.status == .exited(64), "\(result.errors)")
    #expect(!result.errors.isEmpty)
}

@Test(
    "an argument that is not UTF-8 is a usage error, and not taken for another name",
    arguments: [
        ("push --app \"$odd\" --to tcp://127.0.0.1:1", 3), ("push --app a --to \"unix:$odd\"", 5), ("lint odd.prom \"$odd\"", 3),
        ("check -c \"$odd\"", 3), ("\"$odd\"", 1),
    ])
func notUTF8(command: String, number: Int) async throws {
    let result = try await run("sh", ["-c", "odd=$(printf 'caf\\351'); exec \"$0\" \(command)", ProxyProcess.executable])
    #expect(result.status == .exited(64), "\(result.errors)")
    #expect(result.errors.hasPrefix("Error: argument \(number) is not valid UTF-8: "), "\(result.errors)")
}

@Test("a LOG_LEVEL that is no level is a usage error")
func aWrongLogLevelInTheEnvironment() async throws {
    #expect(try await program("serve", environment: ["LOG_LEVEL": "loud"]).status == .exited(64))
}

@Test("without --config, config.toml of the working folder is read")
func configOfTheWorkingFolder() async throws {
    // Told by its error, so that nothing has to be stopped.
    let result = try await runProxy("nonsense = 1\n", arguments: [])
    #expect(result.status == .exited(1))
    #expect(result.errors.contains("config.toml:1:1: error: "), "\(result.errors)")
}

@Test(
    "without any configuration file an error says where it looked",
    // Where the package is installed, an ordinary user may not look into its folder: EACCES.
    .enabled(if: access("/etc/exporter-proxy/config.toml", F_OK) != 0 && errno == ENOENT, "a machine without one"))
func withoutAnyConfiguration() async throws {
    try await withTemporaryFolder { folder in
        let result = try await run(ProxyProcess.executable, workingFolder: folder.path)
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("./config.toml") && result.errors.contains("/etc/exporter-proxy/config.toml"), "\(result.errors)")
        // In the format of the log, at every level.
        let json = try await run(
            ProxyProcess.executable, ["--log-format", "json", "--log-level", "critical"], workingFolder: folder.path)
        #expect(json.status == .exited(1))
        let line = try JSONSerialization.jsonObject(with: Data(json.errors.utf8)) as? [String: String]
        #expect(line?["level"] == "error" && line?["message"]?.contains("no configuration file: ") == true, "\(json.errors)")
    }
}

@Test("a link that leads nowhere is not skipped for another configuration file")
func aDanglingLink() async throws {
    try await withTemporaryFolder { folder in
        try FileManager.default.createSymbolicLink(atPath: folder.path("config.toml"), withDestinationPath: folder.path("missing"))
        let result = try await run(ProxyProcess.executable, ["check"], workingFolder: folder.path)
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("config.toml: error: cannot read the configuration file: no such file"), "\(result.errors)")
    }
}

@Test("a result that cannot be written fails the command", arguments: ["check", "prometheus-config"])
func aFullDisk(command: String) async throws {
    try await withTemporaryFolder { folder in
        try folder.write("config.toml", Configurations.scrape)
        let script = "exec \"$0\" \"$1\" -c config.toml > /dev/full"
        let result = try await run("sh", ["-c", script, ProxyProcess.executable, command], workingFolder: folder.path)
        #expect(result.status == .exited(1))
        #expect(result.errors == "error: cannot write to standard output: no space left on device\n")
    }
}

@Test(
    "help, version or a completion script that cannot be written fails the program",
    arguments: ["--help", "-h", "help push", "push --help", "--version", "--generate-completion-script bash"])
func aFullDiskForHelp(arguments: String) async throws {
    let script = "exec \"$0\" \(arguments)"
    let full = try await run("sh", ["-c", "\(script) > /dev/full", ProxyProcess.executable])
    #expect(full.status == .exited(1))
    #expect(full.errors == "error: cannot write to standard output: no space left on device\n")
    let closed = try await run("sh", ["-c", "\(script) >&-", ProxyProcess.executable])
    #expect(closed.status == .exited(1))
    #expect(closed.errors == "error: cannot write to standard output: bad file descriptor\n")
    let whole = try await run("sh", ["-c", script, ProxyProcess.executable])
    #expect(whole.succeeded && whole.errors == "" && whole.output.hasSuffix("\n"))
}

@Test("without standard error nothing else gets its number, so that no log line goes there")
func withoutStandardError() async throws {
    let script = """
        "$0" -c config.toml 2>&- &
        until [ -S receiver.sock ]; do kill -0 $! || exit 1; sleep 0.05; done
        readlink /proc/$!/fd/2
        kill $!
        wait $!
        """
    try await withTemporaryFolder { folder in
        try folder.write("config.toml", Configurations.scrape + Configurations.receivers())
        let result = try await run("sh", ["-c", script, ProxyProcess.executable], workingFolder: folder.path)
        #expect(result.succeeded && result.output == "/dev/null\n", "\(result.output)\(result.errors)")
    }
}

@Test("without standard input and output, what needs them fails")
func withoutInputAndOutput() async throws {
    try await withTemporaryFolder { folder in
        try folder.write("config.toml", Configurations.scrape)
        for command in ["prometheus-config -c config.toml >&-", "push --app a --to tcp://127.0.0.1:1 <&-"] {
            let result = try await run("sh", ["-c", "exec \"$0\" \(command)", ProxyProcess.executable], workingFolder: folder.path)
            #expect(result.status == .exited(1))
            #expect(result.errors.contains("bad file descriptor"), "\(result.errors)")
        }
    }
}

@Test("a named configuration file that is missing is an error, and no other is read")
func aMissingNamedConfiguration() async throws {
    let result = try await runProxy("", arguments: ["--config", "other.toml"])
    #expect(result.status == .exited(1))
    #expect(result.errors.contains("other.toml"), "\(result.errors)")
}

@Test("--log-format json logs one JSON object per line")
func logsInJSON() async throws {
    try await withTemporaryFolder { folder in
        let config = try folder.write("config.toml", Configurations.scrape)
        let arguments = ["serve", "--config", config, "--log-format", "json", "--log-level", "debug"]
        try await withProgram(ProxyProcess.executable, arguments) { proxy in
            try await wait(for: "a line that names the listener") { proxy.errors.contains("\"127.0.0.1:") && proxy.errors.hasSuffix("\n") }
            for line in proxy.errors.split(separator: "\n") {
                let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
                for key in ["time", "level", "message"] { #expect(object?[key] is String, "\(key): \(line)") }
            }
        }
    }
}
