import Foundation
import TestSupport
import Testing

/// A program of the built kind with a state file, which a test stops and starts again in one folder.
private struct Restarting {
    let folder: TemporaryFolder
    let config = Configurations.scrape + Configurations.receivers("state_file = \"apps.state\"\nstate_interval = \"200ms\"")

    /// Runs it until `body` ends, which may have ended it already.
    func run(
        config: String? = nil, wrapper: [String] = [], _ body: (RunningProgram, _ scrape: String) async throws -> Void
    ) async throws {
        try folder.write("config.toml", config ?? self.config)
        let command = wrapper + [ProxyProcess.executable, "--config", folder.path("config.toml")]
        let program = try RunningProgram(command[0], Array(command.dropFirst()), folder: folder)
        do {
            let scrape = try await wait(for: "the listeners") { () async throws -> String? in
                // Asked first: what it logged before its end is complete then.
                let ended = program.exitStatus
                let line = program.errors.split(separator: "\n").first { $0.contains("kind=scrape") }
                let address = line?.split(separator: " ").first { $0.hasPrefix("listener=") }
                if let address, program.errors.contains("kind=unix") { return String(address.dropFirst(9)) }
                if let ended { throw CurlFailed(description: "the program ended with \(ended)") }
                return nil
            }
            try await body(program, scrape)
            await program.end()
        } catch {
            await program.end()
            throw CurlFailed(description: "\(error); the proxy's log:\n\(program.errors)")
        }
    }

    func push(_ text: String) async throws -> String {
        try await TestSupport.run(Tools.netcat, ["-N", "-U", folder.path("receiver.sock")], input: Array(text.utf8)).output
    }

    func stop(_ program: RunningProgram) async throws -> ProgramResult {
        program.send(signal: SIGTERM)
        return try await program.exit()
    }

    /// What lies in the folder and has to do with the state file.
    var files: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.contains("apps.state") }.sorted() }
    }
}

private func withRestarting(_ body: (Restarting) async throws -> Void) async throws {
    try await withTemporaryFolder { try await body(Restarting(folder: $0)) }
}

@Test("SIGTERM ends a start that reads a large state file, and leaves the file as it is")
func aStartCanBeStopped() async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        let config = it.config.replacing("state_interval = \"200ms\"", with: "state_interval = \"1h\"")
        try await it.run(config: config + "[metrics]\nvalidate = \"off\"\n") { (program, _) async throws -> Void in
            // Checking all of them takes a while. Checking one does not, and the start ends between two.
            let text = String(repeating: "some_metric_with_a_long_name_of_its_own 1\\n", count: 15_000)
            for message in 0..<3 {
                let apps = (0..<20).map { "\"app \(message) \($0)\": \"\(text)\"" }
                #expect(try await it.push("{\(apps.joined(separator: ", "))}") == "")
            }
            #expect(try await it.stop(program).status == .exited(0))
        }
        let before = FileManager.default.contents(atPath: it.folder.path("apps.state"))
        try it.folder.write("config.toml", config + "[metrics]\nvalidate = \"refuse\"\n")
        let program = try RunningProgram(ProxyProcess.executable, ["--config", it.folder.path("config.toml")], folder: it.folder)
        do {
            try await wait(for: "the start") { program.errors.contains("info starting") }
            let result = try await it.stop(program)
            #expect(result.status == .exited(0))
            #expect(!result.errors.contains("listening"))
            #expect(result.errors.hasSuffix("info stopped\n"))
        } catch {
            await program.end()
            throw error
        }
        #expect(FileManager.default.contents(atPath: it.folder.path("apps.state")) == before)
        #expect(try it.files == ["apps.state"])
        #expect(!it.folder.contains("receiver.sock"))
    }
}

@Test("a stop keeps what was pushed: name, source, time, metrics; the next start serves it, and removes leftovers")
func aStopKeepsPushedApps() async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        let config = it.config + "[metrics]\nvalidate = \"off\"\n"
        var before = ""
        try await it.run(config: config) { (program, scrape) async throws -> Void in
            #expect(try await it.push(#"{"a": "x 1", "b": ["y 1", "y 2"], "empty": ""}"#) == "")
            before = try await curl("http://\(scrape)/apps?format=json").body
            #expect(try await it.stop(program).status == .exited(0))
        }
        #expect(it.folder.mode(of: "apps.state") == 0o600)
        try it.folder.write(".apps.state.new-1a2b", "half")
        try await it.run(config: config) { (_, scrape) async throws -> Void in
            let after = try await curl("http://\(scrape)/apps?format=json").body
            #expect(apps(after) == apps(before))
            #expect(try await curl("http://\(scrape)/metrics").body.hasPrefix("x 1\ny 1\ny 2\n"))
            #expect(try await curl("http://\(scrape)/metrics?app=a").body == "x 1\n")
            let files = try it.files
            #expect(files == ["apps.state"])
            let metrics = try await curl("http://\(scrape)/metrics/self").body
            #expect(metrics.contains("\nexporter_proxy_state_last_write_successful 1\n"))
            #expect(metrics.contains("\nexporter_proxy_state_last_write_timestamp_seconds 1"))
        }
    }

    func apps(_ json: String) -> String { json.components(separatedBy: "\"listeners\"")[0].components(separatedBy: "\"apps\"").last ?? "" }
}

@Test("a group of the Pushgateway's API is merged after a restart as if there had been none, and can be deleted")
func aGroupSurvivesARestart() async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        let config = it.config.replacing(
            "state_file", with: "receive_on_http_socket = true\nreceiver_http_socket = \"127.0.0.1:0\"\nstate_file")
        func group(_ program: RunningProgram) throws -> String {
            let line = try #require(program.errors.split(separator: "\n").first { $0.contains("kind=http ") })
            let address = try #require(line.split(separator: " ").first { $0.hasPrefix("listener=") })
            return "http://\(address.dropFirst(9))/metrics/job/backup/instance/db1"
        }
        let first = "# TYPE done counter\ndone{step=\"a\"} 1\n# TYPE size gauge\nsize 7\n"
        try await it.run(config: config) { (program, _) async throws -> Void in
            #expect(try await curl(group(program), ["-X", "PUT", "--data-binary", first]).status == 200)
            #expect(try await it.stop(program).status == .exited(0))
        }
        try await it.run(config: config) { (program, scrape) async throws -> Void in
            let kept = try await curl("http://\(scrape)/metrics").body
            for line in [#"done{instance="db1",job="backup",step="a"} 1"#, #"size{instance="db1",job="backup"} 7"#] {
                #expect(kept.contains(line + "\n"), "\(kept)")
            }
            // POST replaces the families that it contains, and keeps the others.
            #expect(try await curl(group(program), ["--data-binary", "# TYPE done counter\ndone{step=\"b\"} 2\n"]).status == 200)
            let merged = try await curl("http://\(scrape)/metrics").body
            #expect(merged.contains(#"done{instance="db1",job="backup",step="b"} 2"# + "\n"), "\(merged)")
            #expect(!merged.contains(#"step="a""#), "\(merged)")
            #expect(merged.contains(#"size{instance="db1",job="backup"} 7"# + "\n"), "\(merged)")
            #expect(try await curl(group(program), ["-X", "DELETE"]).status == 202)
            let deleted = try await curl("http://\(scrape)/metrics").body
            #expect(!deleted.contains("job=\"backup\""), "\(deleted)")
        }
    }
}

@Test("kill -9 loses at most what came in the last interval")
func killLosesOneInterval() async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        try await it.run { (program, scrape) async throws -> Void in
            #expect(try await it.push(#"{"a": "x 1"}"#) == "")
            try await wait(for: "the writing") {
                try await curl("http://\(scrape)/metrics/self").body.contains("state_writes_total{result=\"success\"} 2\n")
            }
            program.send(signal: SIGKILL)
            _ = try await program.exit()
        }
        try await it.run { (_, scrape) async throws -> Void in
            let metrics = try await curl("http://\(scrape)/metrics?app=a").body
            #expect(metrics == "x 1\n")
        }
    }
}

@Test(
    "a state file that cannot be used is moved to FILE.broken, with a warning, and the start goes on",
    arguments: ["", "something else", "exporter-proxy state", "exporter-proxy state\u{9}\0\0\0later"])
func aBrokenFileIsMovedAside(contents: String) async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        try it.folder.write("apps.state", contents)
        try it.folder.write("apps.state.broken", "older")
        try await it.run { (program, scrape) async throws -> Void in
            #expect(program.errors.contains("warning the state file cannot be used"), "\(program.errors)")
            let kept = try String(contentsOfFile: it.folder.path("apps.state.broken"), encoding: .utf8)
            #expect(kept == contents)
            #expect(try await it.push(#"{"a": "x 1"}"#) == "")
            #expect(try await it.stop(program).status == .exited(0))
        }
        try await it.run { (_, scrape) async throws -> Void in
            let metrics = try await curl("http://\(scrape)/metrics?app=a").body
            #expect(metrics == "x 1\n")
        }
    }
}

@Test("expiry goes on counting while the program does not run")
func expiryGoesOn() async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        try await it.run { (program, _) async throws -> Void in
            #expect(try await it.push(#"{"a": "x 1"}"#) == "")
            #expect(try await it.stop(program).status == .exited(0))
        }
        let config = it.config.replacing("[receiver]", with: "expire_after = \"10ms\"\n[receiver]")
        try await it.run(config: config) { (_, scrape) async throws -> Void in
            #expect(try await curl("http://\(scrape)/metrics?app=a").status == 503)
            #expect(try await curl("http://\(scrape)/apps").body.contains("(expired)"))
        }
    }
}

@Test("smaller limits leave out the oldest, with a warning; with refuse, invalid apps are withheld")
func smallerLimits() async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        try await it.run { (program, _) async throws -> Void in
            for name in ["oldest", "old", "new"] { #expect(try await it.push("{\"\(name)\": \"not valid \"}") == "") }
            #expect(try await it.push(#"{"newest": "x 1"}"#) == "")
            #expect(try await it.stop(program).status == .exited(0))
        }
        let config = it.config.replacing("state_file", with: "max_apps = 2\nstate_file") + "[metrics]\nvalidate = \"refuse\"\n"
        try await it.run(config: config) { (program, scrape) async throws -> Void in
            let apps = try await curl("http://\(scrape)/apps").body
            #expect(apps.contains("newest") && apps.contains("| new ") && apps.contains("(invalid)") && !apps.contains("old"), "\(apps)")
            #expect(program.errors.contains("left out") && program.errors.contains("withheld"), "\(program.errors)")
            #expect(try await curl("http://\(scrape)/metrics?app=new").status == 503)
        }
    }
}

@Test("a second program with the same state file is refused, and says why; the first one is not disturbed")
func aSecondProgramIsRefused() async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        try await it.run { (_, scrape) async throws -> Void in
            let config = Configurations.scrape + "[receiver]\nstate_file = \"\(it.folder.path("apps.state"))\"\n"
            let second = try await runProxy(config)
            #expect(second.status == .exited(1))
            #expect(second.errors.contains("config.toml:5:14: error: receiver.state_file"), "\(second.errors)")
            try await wait(for: "the log") { second.errors.contains("another process uses it") }
            #expect(try await curl("http://\(scrape)/-/healthy").status == 200)
            let files = try it.files
            #expect(files == ["apps.state"])
        }
    }
}

@Test("a folder that is not there is an error of check, start and reload; so is a path that the configuration names elsewhere")
func impossiblePaths() async throws {
    let bad = Configurations.scrape + "[receiver]\nstate_file = \"missing/apps.state\"\n"
    for arguments in [["check", "--config", "config.toml"], ["--config", "config.toml"]] {
        let result = try await runProxy(bad, arguments: arguments)
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("config.toml:5:14: error: receiver.state_file") && result.errors.contains("does not exist"))
        let other = try await runProxy(Configurations.scrape + "[receiver]\nstate_file = \"config.toml\"\n", arguments: arguments)
        #expect(other.status == .exited(1) && other.errors.contains("receiver.state_file"), "\(other.errors)")
        let polled = "[poll_external]\nother_scrape_endpoints = [\"unix:t.sock:/metrics\"]\n"
        for (state, words) in [("t.sock", "also the path of poll_external.other_scrape_endpoints[0]"), ("t", "would be moved to")] {
            let polled = state == "t" ? polled.replacing("t.sock", with: "t.broken") : polled
            let receiver = "[receiver]\nstate_file = \"\(state)\"\n"
            let socket = try await runProxy(Configurations.scrape + receiver + polled, arguments: arguments)
            #expect(socket.status == .exited(1) && socket.errors.contains(words), "\(socket.errors)")
        }
    }
    try await withProxy(Configurations.scrape) { proxy in
        try await proxy.save(bad)
        #expect(proxy.log.contains("receiver.state_file") && proxy.log.contains("not reloaded"))
    }
}

@Test("a reload to another state file writes the new one, reads nothing, and lets the old one be")
func reloadToAnotherFile() async throws {
    func config(_ keys: String) -> String { Configurations.scrape + Configurations.receivers(keys) }
    try await withProxy(config("state_file = \"one.state\"")) { proxy in
        #expect(try await pushOverUnixSocket(#"{"a": "x 1"}"#, to: proxy) == "")
        try proxy.folder.write("two.state", "")
        try await proxy.save(config("state_file = \"two.state\""))
        try await wait(for: "the new file") {
            let contents = FileManager.default.contents(atPath: proxy.folder.path("two.state"))
            return contents?.starts(with: Array("exporter-proxy state".utf8)) == true
        }
        #expect(!proxy.folder.contains("two.state.broken"))
        #expect(proxy.folder.contains("one.state"))
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=a").status == 200)
        try await proxy.save(config(""))
        #expect(try await !curl("http://\(proxy.scrape)/metrics/self").body.contains("exporter_proxy_state_"))
    }
}

@Test(
    "a full disk is told and counted, and everything else goes on",
    .enabled("a file system of its own") { await PrivateMachine.isThere() })
func aFullDisk() async throws {
    try await withRestarting { (it: Restarting) async throws -> Void in
        let config = it.config.replacing("apps.state", with: "disk/apps.state")
        try it.folder.write("disk/here", "")
        let disk = it.folder.path("disk")
        let mount = "mount -t tmpfs -o size=64k none \(disk) && exec \"$@\""
        let unshare = ["unshare", "--mount"] + PrivateMachine.asRoot
        try await it.run(config: config, wrapper: unshare + ["sh", "-c", mount, "sh"]) { program, scrape in
            let text = String(repeating: "x 1\\n", count: 40_000)
            #expect(try await it.push("{\"large\": \"\(text)\"}") == "")
            try await wait(for: "the failure") {
                try await curl("http://\(scrape)/metrics/self").body.contains("\nexporter_proxy_state_last_write_successful 0\n")
            }
            try await wait(for: "the log") { program.errors.contains("warning cannot write the state file") }
            #expect(program.errors.contains("no space left"))
            #expect(try await curl("http://\(scrape)/metrics?app=large").status == 200)
            // What fits is written again.
            #expect(try await it.push(#"{"large": "x 1"}"#) == "")
            try await wait(for: "the success") {
                try await curl("http://\(scrape)/metrics/self").body.contains("\nexporter_proxy_state_last_write_successful 1\n")
            }
            #expect(try await it.push("{\"large\": \"\(text)\"}") == "")
            #expect(try await it.stop(program).status == .exited(0))
        }
    }
}
