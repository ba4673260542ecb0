import Foundation
import TestSupport
import Testing

private let before = Configurations.scrape + Configurations.receivers()

/// Saves `config.toml` in one of the ways that editors and tools have.
private struct Save: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// Runs in the configuration's folder; `new` holds the new text.
    let script: String
}

private let saves = [
    Save(testDescription: "written in place", script: "cat new > config.toml"),
    Save(testDescription: "written in place, slowly", script: "head -c 40 new > config.toml; sleep 0.05; tail -c +41 new >> config.toml"),
    Save(testDescription: "renamed over, as vim does", script: "cp new .config.toml.swp; mv .config.toml.swp config.toml"),
    Save(testDescription: "sed -i", script: "sed -i 's/format = \"json\"/format = \"capnp\"/' config.toml"),
    Save(testDescription: "deleted and recreated", script: "rm config.toml; sleep 0.3; cp new config.toml"),
    Save(testDescription: "its folder replaced", script: "mkdir other; cp new other/config.toml; cd ..; mv conf old; mv old/other conf"),
    Save(
        testDescription: "a burst of a hundred edits",
        script: "for i in $(seq 100); do echo \"# $i\" >> config.toml; done; cat new > config.toml"),
    Save(
        testDescription: "the same size and modification time",
        script: "touch -r config.toml time; sed -i 's/json/capnp/; s/# pad/#pad/' config.toml; touch -r time config.toml"),
]

@Test("however it is saved, it takes effect, and the old connection lives on", arguments: saves)
private func everySaveTakesEffect(save: Save) async throws {
    try await withProxy(before + "# pad\n", configFile: "conf/config.toml") { proxy in
        let old = try RawConnection(to: proxy.scrape)
        #expect(try await old.get("/-/healthy").status == 200)
        try proxy.folder.write("conf/new", before.replacing("\"json\"", with: "\"capnp\""))
        try await shell(save.script, in: proxy.folder.path("conf"))
        try await wait(for: "the new format") { proxy.log.contains("receiver.format: json -> capnp") }
        #expect(try await old.get("/-/healthy").status == 200)
        #expect(try await pushOverTCP(Array(#"{"a": "x 1"}"#.utf8), to: proxy).hasPrefix("error: "))
    }
}

@Test("a Kubernetes ConfigMap's ..data swap takes effect")
func configMapSwap() async throws {
    let makeMap = """
        mkdir -p map/..one map/..two; ln -s ..one map/..data; ln -s ..data/config.toml map/config.toml
        """
    try await withProxy(
        before, configFile: "map/config.toml",
        prepare: { try await shell(makeMap, in: $0.path) }
    ) { proxy in
        let old = try RawConnection(to: proxy.scrape)
        #expect(try await old.get("/-/healthy").status == 200)
        for (index, (name, format)) in [("two", "capnp"), ("one", "json"), ("two", "capnp")].enumerated() {
            try proxy.folder.write("map/..\(name)/config.toml", before.replacing("\"json\"", with: "\"\(format)\""))
            try await proxy.reloading("swap \(index)") {
                let swap = "ln -s ..\(name) map/..data_tmp; mv -T map/..data_tmp map/..data"
                try await shell(swap, in: proxy.folder.path)
            }
            #expect(try await pushOverUnixSocket(#"{"a": "x 1"}"#, to: proxy).isEmpty == (format == "json"))
        }
        #expect(try await old.get("/-/healthy").status == 200)
    }
}

@Test(
    "a single file that is bind-mounted takes effect when it is written in place",
    .enabled("a network of its own") { await PrivateMachine.isThere() })
func bindMount() async throws {
    try await withTemporaryFolder { folder in
        try folder.write("outside/config.toml", "[exporter]\nworker_threads = 0\n[receiver]\n")
        try folder.write("inside/config.toml", "")
        let result = try await PrivateMachine.run(
            """
            mount --bind outside/config.toml inside/config.toml
            start inside/config.toml
            printf '[exporter]\\nworker_threads = 0\\nidle_timeout = 7\\n' > outside/config.toml
            until grep -q 'exporter.idle_timeout: 6m -> 7s' proxy.log; do sleep 0.05; done
            curl --output /dev/null http://localhost:6555/-/healthy
            """, folder: folder)
        #expect(result.succeeded, "\(result.errors)")
    }
}

@Test("SIGHUP and POST /-/reload run the same path, and wait for its result")
func signalAndRequest() async throws {
    try await withProxy(Configurations.scrape + "enable_lifecycle = true\n") { proxy in
        let old = try RawConnection(to: proxy.scrape)
        #expect(try await old.get("/-/healthy").status == 200)
        try await proxy.reloading { proxy.program.send(signal: SIGHUP) }
        try await wait(for: "the log") { proxy.log.contains("no changes trigger=SIGHUP") }
        let url = "http://\(proxy.scrape)/-/reload"
        #expect(try await curl(url, ["-X", "POST"]).body == "nothing has changed\n")
        // The answer to a request comes after the reload, not from a watcher that was faster.
        try proxy.writeInPlace("config.toml", Configurations.scrape + "enable_lifecycle = true\nidle_timeout = 7\n")
        let answer = try await curl(url, ["-X", "POST"])
        #expect(answer.status == 200)
        try await wait(for: "the log") { proxy.log.contains("exporter.idle_timeout: 6m -> 7s") }
        try proxy.writeInPlace("config.toml", "[exporter]\nenable_lifecycle = true\nidle = 7\n")
        let failed = try await curl(url, ["-X", "POST"])
        #expect(failed.status == 500)
        #expect(failed.body.contains("config.toml:3:1: error: unknown key exporter.idle"), "\(failed.body)")
        try proxy.writeInPlace("config.toml", Configurations.scrape)
        try await wait(for: "enable_lifecycle to be off") { try await curl(url, ["-X", "POST"]).status == 403 }
        #expect(try await old.get("/-/healthy").status == 200)
    }
}

@Test("bytes that are the same cause nothing")
func unchangedBytes() async throws {
    try await withProxy(before) { proxy in
        for _ in 0..<3 { try proxy.writeAgain("config.toml") }
        // Whatever the watcher makes of them it makes before this one.
        try await proxy.reloading { proxy.program.send(signal: SIGHUP) }
        // Nothing announces what does not come: twice as long as the watcher ever waits for quiet.
        try await Task.sleep(for: .seconds(1))
        #expect(proxy.reloads == 1, "\(proxy.log)")
    }
}
