import Foundation
import TestSupport
import Testing

private let config = Configurations.scrape(tls: "optional") + Configurations.receivers()

/// Something that must not be taken over.
private struct Broken: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// Runs in the configuration's folder.
    let script: String
    /// What the log must say.
    let words: [String]
}

private let all = [
    Broken(
        testDescription: "an unknown key", script: "sed -i 's/^tls = /tsl = /' config.toml",
        words: ["config.toml:4:1: error: ", "exporter.tsl"]),
    Broken(
        testDescription: "half a file", script: "printf '[exporter]\\nscrape_expose_endpoint = \"127.' > config.toml",
        words: ["config.toml:2:", "error: "]),
    Broken(testDescription: "an empty file", script: ": > config.toml", words: ["config.toml: error: ", "it may be incomplete"]),
    Broken(testDescription: "comments alone", script: "echo '# nothing' > config.toml", words: ["it may be incomplete"]),
    Broken(
        testDescription: "no file", script: "mv config.toml gone", words: ["cannot read the configuration file: no such file or directory"]),
    Broken(
        testDescription: "a key of another certificate", script: "cp certs/client-key.pem certs/server-key.pem",
        words: ["key_file", "certs/server-key.pem"]),
    Broken(
        testDescription: "half a certificate", script: "head -c 200 certs/server.pem > x; cat x > certs/server.pem",
        words: ["cert_file", "certs/server.pem"]),
    Broken(
        testDescription: "a certificate that is gone", script: "rm certs/server.pem", words: ["cert_file", "no such file or directory"]),
    Broken(
        testDescription: "a target's CA that is missing",
        script:
            "printf '[poll_external]\\npoll_other_scrape_endpoints = true\\n[[poll_external.targets]]\\nurl = \"https://127.0.0.1:9/\"\\ntls_config = { ca_file = \"missing.pem\" }\\n' >> config.toml",
        words: ["poll_external.targets[0].tls_config.ca_file", "missing.pem", "no such file or directory"]),
    Broken(
        testDescription: "an address of no interface",
        script: "sed -i 's/^receiver_tcp_socket = .*/receiver_tcp_socket = \"192.0.2.1:6554\"/; s/json/capnp/' config.toml",
        words: ["receiver.receiver_tcp_socket", "192.0.2.1:6554"]),
]

@Test("what cannot run leaves everything as it was, and is said; the next good save applies", arguments: all)
private func aBrokenSaveKeepsWhatRuns(broken: Broken) async throws {
    try await withProxy(config, certificates: true) { proxy in
        let files = ["config.toml", "certs/server.pem", "certs/server-key.pem"]
        let good = try files.map { try String(contentsOfFile: proxy.folder.path($0), encoding: .utf8) }
        let old = try RawConnection(to: proxy.scrape)
        #expect(try await old.get("/-/healthy").status == 200)
        try await HeldTLSConnection.with(proxy) { held in
            #expect(try await held.ask() == "exporter-proxy is healthy")
            try await proxy.reloading {
                try await shell(broken.script, in: proxy.folder.path)
            }
            try await wait(for: "the log") { proxy.log.contains("configuration not reloaded: the previous one stays in force") }
            for word in broken.words { #expect(proxy.log.contains(word), "\(word)") }
            // Old connections and new ones, plain and in TLS, scrapes and pushes.
            #expect(try await old.get("/-/healthy").status == 200)
            #expect(try await held.ask() == "exporter-proxy is healthy")
            let https = "https://localhost:\(proxy.scrapePort)/-/healthy"
            #expect(try await curl(https, ["--cacert", proxy.folder.path("held-ca.pem")]).status == 200)
            #expect(try await pushOverUnixSocket(#"{"a": "x 1"}"#, to: proxy) == "")
            #expect(try await pushOverTCP(Array(#"{"b": "x 1"}"#.utf8), to: proxy) == "")

            for (name, text) in zip(files, good).dropFirst() { try proxy.folder.write(name, text) }
            try proxy.folder.write("config.toml", good[0].replacing("\"json\"", with: "\"capnp\""))
            try await wait(for: "the next good save") { proxy.log.contains("receiver.format: json -> capnp") }
            #expect(try await pushOverUnixSocket(#"{"a": "x 1"}"#, to: proxy).hasPrefix("error: "))
            #expect(try await held.ask() == "exporter-proxy is healthy")
        }
    }
}

@Test("an address that another program holds keeps the old one, and is taken once it is free")
func aBusyAddress() async throws {
    try await withProxy(Configurations.scrape) { other in
        try await withProxy(Configurations.scrape) { proxy in
            let old = try RawConnection(to: proxy.scrape)
            #expect(try await old.get("/-/healthy").status == 200)
            try await proxy.save(Configurations.scrape.replacing("127.0.0.1:0", with: other.scrape))
            #expect(proxy.log.contains("config.toml:3:26: error: exporter.scrape_expose_endpoint: cannot listen on \(other.scrape)"))
            #expect(try await old.get("/-/healthy").status == 200)
            #expect(try await curl("http://\(proxy.scrape)/-/healthy").status == 200)
            other.program.send(signal: SIGTERM)
            _ = try await other.program.exit()
            try await proxy.reloading { proxy.program.send(signal: SIGHUP) }
            #expect(try await curl("http://\(other.scrape)/-/healthy").status == 200)
        }
    }
}
