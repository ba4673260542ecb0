import TestSupport
import Testing

@Suite struct EveryExporterKeepsItsSeries {
    @Test(
        "with app_label a real Prometheus keeps the go_goroutines of each of three Debian exporters behind one port; without it, of one",
        .enabled(if: Exporter.areInstalled, "script/setup --tests provides them"))
    func threeExporters() async throws {
        try await withExporters { exporters in
            let targets = exporters.map { "[[poll_external.targets]]\nurl = \"http://\($0.address)/metrics\"\nname = \"\($0.app)\"\n" }
            func config(appLabel: String) -> String {
                Configurations.scrape + "[metrics]\napp_label = \"\(appLabel)\"\n" + Configurations.poll() + targets.joined()
            }
            try await withProxy(config(appLabel: "")) { proxy in
                try await wait(for: "a poll of each exporter") {
                    try await curl("http://\(proxy.scrape)/metrics").body.matches(of: #/\ngo_goroutines /#).count == exporters.count
                }
                let scrapeConfig = """
                    global: {scrape_interval: 1s, scrape_timeout: 1s}
                    scrape_configs: [{job_name: host, static_configs: [{targets: ['\(proxy.scrape)']}]}]

                    """
                try await withPrometheus(scrapeConfig, folder: proxy.folder) { prometheus in
                    // Of several samples of one series Prometheus keeps the first.
                    try await wait(for: "a scrape without the label") { try await prometheus.query("count(go_goroutines)") == "1" }

                    try await proxy.save(config(appLabel: "app"))
                    for exporter in exporters {
                        let own = try await exporter.startTime()
                        let query = #"process_start_time_seconds{app="\#(exporter.app)"} == bool \#(own)"#
                        try await wait(for: "the label on \(exporter.app)") { try await prometheus.query(query) == "1" }
                    }
                    #expect(try await prometheus.query(#"count(go_goroutines{app!=""})"#) == "\(exporters.count)")
                    #expect(try await prometheus.query("up") == "1")
                }
            }
        }
    }
}

/// A running exporter of a Debian package.
private struct Exporter {
    /// The app that it is polled as.
    var app: String
    var address: String

    static let areInstalled = [Tools.blackboxExporter, Tools.nodeExporter, Tools.processExporter].allSatisfy { $0 != nil }

    /// Its `process_start_time_seconds`, as it writes it.
    func startTime() async throws -> String {
        let body = try await curl("http://\(address)/metrics").body
        return try String(#require(body.firstMatch(of: #/\nprocess_start_time_seconds (.+)\n/#)).1)
    }
}

/// Runs Debian's blackbox, node and process exporters, each on a port of its own.
private func withExporters(_ body: ([Exporter]) async throws -> Void) async throws {
    try await withTemporaryFolder { folder in
        let modules = try folder.write("blackbox.yml", "modules: {http_2xx: {prober: http}}\n")
        try await withExporter("blackbox", Tools.blackboxExporter, ["--config.file", modules]) { blackbox in
            // One of its collectors: others read services that a machine may lack.
            try await withExporter("node", Tools.nodeExporter, ["--collector.disable-defaults", "--collector.loadavg"]) { node in
                try await withExporter("process", Tools.processExporter, ["--procnames", "none"]) { process in
                    try await body([blackbox, node, process])
                }
            }
        }
    }
}

private func withExporter(_ app: String, _ program: String?, _ options: [String], _ body: (Exporter) async throws -> Void) async throws {
    let address = "127.0.0.1:\(try reservePort())"
    try await withProgram(#require(program), options + ["--web.listen-address", address]) { _ in
        try await body(Exporter(app: app, address: address))
    }
}
