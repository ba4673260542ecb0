import Foundation
import TestSupport
import Testing

/// What jq makes of a program's log.
private func jq(_ filter: String, _ log: String) async throws -> [String] {
    let result = try await run("jq", ["-r", "-c", filter], input: Array(log.utf8))
    guard result.succeeded else { throw CurlFailed(description: "jq \(filter): \(result.errors)\(log)") }
    return result.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
}

@Suite struct LogsAreReadByJq {
    @Test("in JSON every line is one object with time, level and message, whatever comes from outside, from the start to the last line")
    func everyLineIsAnObject() async throws {
        let config = Configurations.scrape(tls: "required") + Configurations.receivers() + Configurations.poll("http://127.0.0.1:1/metrics")
        let arguments = ["--log-format", "json", "--log-level", "trace"]
        try await withTemporaryFolder { folder in
            try await ProxyProcess.makeCertificates(in: folder)
            let file = try folder.write("config.toml", config)
            try await withProgram(ProxyProcess.executable, arguments + ["-c", file]) { proxy in
                try await wait(for: "the failing target") { proxy.errors.contains("target is failing") }
                let addresses = try await jq("select(.message == \"listening\") | .kind + \" \" + .listener", proxy.errors)
                let scrape = try #require(addresses.first { $0.hasPrefix("scrape ") }).dropFirst(7)
                // A name that tries to look like a line of its own.
                let name = "a\n{\"level\":\"error\"}\r\u{1B}[31m\u{85}\u{2028}\"\\"
                let push = try JSONSerialization.data(withJSONObject: [name: "a 1"])
                _ = try await run(Tools.netcat, ["-N", "-U", folder.path("receiver.sock")], input: [UInt8](push))
                _ = try await run(
                    Tools.netcat, ["-N", "127.0.0.1", String(scrape.split(separator: ":")[1])], input: Array("garbage\r\n\r\n".utf8))
                try await wait(for: "both failures") {
                    proxy.errors.contains("message refused") && proxy.errors.contains("TLS handshake failed")
                }
                proxy.send(signal: SIGTERM)
                let ended = try await proxy.exit()
                #expect(ended.succeeded)

                let log = ended.errors
                let lines = log.split(separator: "\n", omittingEmptySubsequences: false)
                #expect(lines.last == "", "the last line is whole")
                let objects = try await jq("[.time, .level, .message] | map(type) | unique", log)
                #expect(objects.count == lines.count - 1)
                #expect(Set(objects) == ["[\"string\"]"])
                #expect(
                    try await jq(".time | test(\"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.][0-9]{3}Z$\")", log).allSatisfy { $0 == "true" })
                #expect(try await jq("select(.message == \"message refused\") | .level + \" \" + .reason", log) == ["warning invalid_name"])
                #expect(try await jq("select(.message == \"message refused\") | .peer", log)[0].contains("process"))
                #expect(try await jq("select(.message == \"TLS handshake failed\") | .peer", log)[0].hasPrefix("127.0.0.1:"))
                // Once per change of state, although it is polled each second.
                #expect(try await jq("select(.message == \"target is failing\") | .target", log) == ["external_poll: 127.0.0.1:1"])
                #expect(try await jq("select(.message == \"target is failing\") | .error", log)[0].contains("refused"))
                #expect(try await jq(".message", log).contains("stopped"))
                // Nor does any line hold a file that was read, be it as a list of its bytes: keys and passwords are among them.
                let key = Array(try Data(contentsOf: URL(fileURLWithPath: folder.path("certs/server-key.pem"))).dropFirst(40).prefix(8))
                #expect(!log.contains(key.map(String.init).joined(separator: ", ")))
                #expect(lines.allSatisfy { $0.utf8.count < 1000 }, "\(lines.max { $0.utf8.count < $1.utf8.count } ?? "")")
            }
        }
    }

    @Test("a start that fails tells its problems in JSON too")
    func problemsInJSON() async throws {
        let result = try await runProxy(
            "foo = 1\n[receiver]\nformat = \"xml\"\n", arguments: ["--log-format", "json", "-c", "config.toml"])
        #expect(result.status == .exited(1))
        #expect(try await jq(".level", result.errors) == ["error", "error"])
        #expect(try await jq(".key", result.errors) == ["foo", "receiver.format"])
        let messages = try await jq(".message", result.errors)
        #expect(
            messages.count == 2 && messages[0].hasPrefix("config.toml:1:1: error: ") && messages[1].hasPrefix("config.toml:3:10: error: "))
    }

    @Test("as text every event is one line, and nothing from outside can look like another")
    func textIsOneLine() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            let name = "a\n2026-11-24T00:00:00.000Z error forged\u{1B}[31m\u{202E}"
            let push = try JSONSerialization.data(withJSONObject: [name: "a 1"])
            #expect(try await pushOverUnixSocket([UInt8](push), to: proxy).hasPrefix("error: invalid app name"))
            let line = try await wait(for: "the line") {
                proxy.log.split(separator: "\n").first { $0.contains(" message refused ") }.map(String.init)
            }
            #expect(line.contains(" warning message refused ") && line.contains("forged") && line.contains(" reason=invalid_name"))
            #expect(!proxy.log.split(separator: "\n").contains { $0.hasPrefix("2026-11-24T00:00:00.000Z error forged") })
            #expect(!proxy.log.contains("\u{1B}") && !proxy.log.contains("\u{202E}"))
        }
    }

    @Test(
        "the level decides what is logged, the option before the environment",
        arguments: [
            ([], nil, true), ([], "error", false), ([], "INFO", true), (["--log-level", "info"], "error", true),
            (["--log-level", "critical"], "trace", false), (["--log-level", "Notice"], nil, false),
        ] as [([String], String?, Bool)])
    func levels(arguments: [String], environment: String?, logsInfo: Bool) async throws {
        try await withTemporaryFolder { folder in
            let config = try folder.write("config.toml", Configurations.scrape + Configurations.receivers())
            let variables = environment.map { ["LOG_LEVEL": $0] } ?? [:]
            try await withProgram(ProxyProcess.executable, arguments + ["-c", config], environment: variables) { proxy in
                try await wait(for: "the socket") { folder.contains("receiver.sock") }
                proxy.send(signal: SIGTERM)
                let ended = try await proxy.exit()
                #expect(ended.succeeded, "\(ended.errors)")
                #expect(ended.errors.contains(" info stopped\n") == logsInfo, "\(ended.errors)")
                if !logsInfo { #expect(ended.errors == "") }
            }
        }
    }

    @Test("a log that is not read blocks nothing, and its last lines are not lost")
    func aLateReader() async throws {
        // The log goes to a pipe that is read when the test says so.
        let script = """
            mkfifo log
            "$0" -c config.toml --log-level trace 2>log &
            proxy=$!
            exec 3<log
            until printf '' | \(Tools.netcat) -N -U receiver.sock; do sleep 0.05; done 2>refused
            for i in 1 2 3 4 5; do printf 'x' | \(Tools.netcat) -N -U receiver.sock; done
            kill -TERM $proxy
            cat <&3 >seen
            wait $proxy
            """
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", Configurations.scrape + Configurations.receivers())
            let result = try await run("bash", ["-c", script, ProxyProcess.executable], workingFolder: folder.path)
            #expect(result.succeeded, "\(result.errors)")
            #expect(result.output.split(separator: "\n").filter { $0.hasPrefix("error: malformed JSON") }.count == 5)
            let seen = try String(contentsOfFile: folder.path("seen"), encoding: .utf8)
            #expect(seen.contains(" info stopped\n") && seen.hasSuffix("\n"), "\(seen)")
        }
    }
}
