import TestSupport
import Testing

/// The value of one of the proxy's own series, as it is exposed now.
private func metric(_ series: String, of proxy: ProxyProcess, _ options: [String] = []) async throws -> Double? {
    let text = try await curl("http://\(proxy.scrape)/metrics", options).body
    let line = text.split(separator: "\n").first { $0.hasPrefix("exporter_proxy_\(series) ") }
    return line.flatMap { Double($0.split(separator: " ").last ?? "") }
}

@Test("promtool accepts the self-metrics without a warning, and they come last")
func promtoolAcceptsTheSelfMetrics() async throws {
    try await withPageServer(folder: "\(checkout)/clients") { server in
        let poll = Configurations.poll("http://127.0.0.1:\(server.port)/1025.html", "http://127.0.0.1:9/")
        try await withProxy(Configurations.scrape(tls: "optional") + Configurations.receivers() + poll, certificates: true) { proxy in
            try await waitUntilReady(proxy)
            #expect(
                try await pushOverUnixSocket(##"{"a": "# HELP a_total A.\n# TYPE a_total counter\na_total 1", "q\"": ""}"##, to: proxy)
                    == "")
            _ = try await pushOverUnixSocket("{", to: proxy)
            _ = try await curl("https://\(proxy.scrape)/apps", ["--cacert", proxy.caFile])
            for options in [[], ["--compressed"]] {
                let metrics = try await curl("http://\(proxy.scrape)/metrics", options)
                #expect(metrics.body.hasPrefix("# HELP a_total A.\n"))
                #expect(metrics.body.contains(#"exporter_proxy_app_size_bytes{app="q\""} 0"#))
                let check = try await run(Tools.promtool, ["check", "metrics"], input: metrics.bodyBytes)
                #expect(check.succeeded, "\(check.output)\(check.errors)")
                #expect(check.output + check.errors == "")
            }
        }
    }
}

@Test("messages, refusals, connections, requests, polls and handshakes are counted where they happen")
func theProxyCountsWhatHappens() async throws {
    try await withPageServer(folder: "\(checkout)/clients") { server in
        let name = "external_poll: 127.0.0.1:\(server.port)"
        let poll = Configurations.poll("http://127.0.0.1:\(server.port)/1025.html")
        try await withProxy(Configurations.scrape(tls: "optional") + Configurations.receivers("max_apps = 3") + poll, certificates: true) {
            proxy in
            try await waitUntilReady(proxy)
            try await wait(for: "the first good poll") { try await metric("poll_up{target=\"\(name)\"}", of: proxy) == 1 }
            let unix = try #require(proxy.unixSocket)
            #expect(try await pushOverUnixSocket(#"{"a": "a 1"} {"b": "b 1"}"#, to: proxy) == "")
            #expect(try await pushOverUnixSocket(#"{"c": "c 1"}"#, to: proxy).hasPrefix("error: "))
            #expect(try await pushOverTCP(Array("nonsense".utf8), to: proxy).hasPrefix("error: "))
            #expect(try await metric("received_messages_total{listener=\"\(unix)\",format=\"json\"}", of: proxy) == 2)
            #expect(try await metric("rejected_messages_total{listener=\"\(unix)\",reason=\"too_many_apps\"}", of: proxy) == 1)
            let tcp = "127.0.0.1:\(proxy.tcpPort)"
            #expect(try await metric("rejected_messages_total{listener=\"\(tcp)\",reason=\"malformed\"}", of: proxy) == 1)
            #expect(try await metric("received_messages_total{listener=\"\(tcp)\",format=\"json\"}", of: proxy) == 0)
            #expect(try await metric("apps", of: proxy) == 3)
            #expect(try await metric("apps_limit", of: proxy) == 3)
            #expect(try await metric("app_size_bytes{app=\"a\"}", of: proxy) == 4)
            #expect(try await metric("poll_up{target=\"\(name)\"}", of: proxy) != nil)
            #expect(try await metric("polls_total{target=\"\(name)\",result=\"success\"}", of: proxy) ?? 0 >= 1)
            #expect(try await metric("poll_duration_seconds{target=\"\(name)\"}", of: proxy) ?? 0 > 0)
            // The very connection that asks.
            #expect(try await metric("connections{listener=\"\(proxy.scrape)\"}", of: proxy) ?? 0 >= 1)
            #expect(try await metric("config_last_reload_successful", of: proxy) == 1)

            #expect(try await curl("http://\(proxy.scrape)/nothing").status == 404)
            try await wait(for: "the count of what is no route") {
                try await metric("http_requests_total{path=\"other\",code=\"404\"}", of: proxy) == 1
            }
            #expect(try await metric("http_requests_total{path=\"/metrics\",code=\"200\"}", of: proxy) ?? 0 >= 1)

            _ = try await curl("https://\(proxy.scrape)/", ["--cacert", proxy.caFile])
            let listener = "listener=\"\(proxy.scrape)\""
            #expect(try await metric("tls_handshakes_total{\(listener),result=\"success\"}", of: proxy) ?? 0 >= 1)
            #expect(try await metric("tls_certificate_not_after_timestamp_seconds{\(listener)}", of: proxy) ?? 0 > 1_700_000_000)
            // This client does not know the authority, and says so in an alert.
            _ = try await runCurl(["https://\(proxy.scrape)/"])
            try await wait(for: "the failed handshake") {
                try await metric("tls_handshakes_total{\(listener),result=\"failure\"}", of: proxy) ?? 0 >= 1
            }

            #expect(try await metric("process_open_fds", of: proxy) ?? 0 > 5)
            #expect(try await metric("process_max_fds", of: proxy) ?? 0 >= 1024)
            #expect(try await metric("process_resident_memory_bytes", of: proxy) ?? 0 > 1_048_576)
            #expect(try await metric("process_threads", of: proxy) ?? 0 >= 2)
            let start = try await metric("process_start_time_seconds", of: proxy) ?? 0
            let update = try await metric("app_last_update_timestamp_seconds{app=\"a\"}", of: proxy) ?? 0
            #expect(update - start > -2 && update - start < 600, "started \(start), updated \(update)")
        }
    }
}

@Test("self_metrics = false leaves them out")
func selfMetricsCanBeLeftOut() async throws {
    try await withProxy(Configurations.scrape + "self_metrics = false\n" + Configurations.receivers()) { proxy in
        let answer = try await pushOverUnixSocket(#"{"a": "a 1"}"#, to: proxy)
        #expect(answer == "")
        #expect(try await curl("http://\(proxy.scrape)/metrics").body == "a 1\n")
    }
}

@Test(
    "a reload is counted with its result; the series of a listener and of a target that it removes go, a target's counts survive a new name"
)
func reloadsAreMeasured() async throws {
    try await withPageServer(folder: "\(checkout)/clients") { server in
        let url = "http://127.0.0.1:\(server.port)/1025.html"
        let before = Configurations.scrape + Configurations.receivers()
        let named = "\n[[poll_external.targets]]\nurl = \"\(url)\"\nname = "
        let poll = "[poll_external]\npoll_other_scrape_endpoints = true\n"
        try await withProxy(before + poll + named + "\"one\"\n") { proxy in
            try await wait(for: "the first polls") { try await metric(#"polls_total{target="one",result="success"}"#, of: proxy) ?? 0 >= 1 }
            let tcp = "connections{listener=\"127.0.0.1:\(proxy.tcpPort)\"}"
            #expect(try await metric(tcp, of: proxy) == 0)

            try proxy.folder.write("config.toml", "nonsense = 1\n")
            try await wait(for: "the refused reload") { try await metric("config_last_reload_successful", of: proxy) == 0 }
            #expect(try await metric(#"config_reloads_total{result="failure"}"#, of: proxy) == 1)

            try proxy.folder.write("config.toml", Configurations.scrape + poll + named + "\"two\"\n")
            try await wait(for: "the reload") { try await metric("config_last_reload_successful", of: proxy) == 1 }
            #expect(try await metric(#"config_reloads_total{result="success"}"#, of: proxy) == 1)
            #expect(try await metric(#"polls_total{target="two",result="success"}"#, of: proxy) ?? 0 >= 1)
            #expect(try await metric(#"polls_total{target="one",result="success"}"#, of: proxy) == nil)
            try await wait(for: "the receiver's series to go") { try await metric(tcp, of: proxy) == nil }

            try proxy.folder.write("config.toml", Configurations.scrape + "self_metrics = false\n")
            try await wait(for: "the self-metrics to go") { try await curl("http://\(proxy.scrape)/metrics").body == "" }
        }
    }
}
