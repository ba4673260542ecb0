import Testing

@testable import Proxy

/// The words of the log for a change.
@Suite("Config settings")
struct ConfigSettingsTests {
    private func changes(_ old: String, _ new: String, files: [String: [UInt8]] = [:]) throws -> [String] {
        ReloadPlan(from: try loadedConfig(old, files: files), to: try loadedConfig(new, files: files)).changes
    }

    @Test("each change is a line with its key, the old value and the new one, in the order of the reference")
    func lines() throws {
        #expect(
            try changes("", "[exporter]\nidle_timeout = 90\nmax_connections = 17\nenable_lifecycle = true") == [
                "exporter.enable_lifecycle: false -> true", "exporter.max_connections: 4096 -> 17", "exporter.idle_timeout: 6m -> 1m30s",
            ])
    }

    @Test("the same values, written in another way, make no line")
    func nothing() throws {
        #expect(try changes("", "[exporter]\nidle_timeout = \"360s\"\nallowed_hosts = []\n[metrics]\nvalidate = \"report\"") == [])
    }

    @Test("every kind of value is shown as it is written")
    func kinds() throws {
        #expect(
            try changes(
                "[receiver]\nmax_message_size = 1024\n[exporter]\nexpire_after = 60",
                """
                [exporter]
                allowed_hosts = ["A.example", "::1"]
                [receiver]
                format = "capnp"
                [metrics]
                app_label = "app"
                [poll_external]
                proxy_url = "http://proxy.example"
                """)
                == [
                    "exporter.allowed_hosts: [] -> [\"a.example\", \"::1\"]", "receiver.format: json -> capnp",
                    "receiver.max_message_size: 1KiB -> 16MiB", "metrics.app_label: \"\" -> app",
                    "poll_external.proxy_url: not set -> http://proxy.example:80",
                    // What is no longer set comes last.
                    "exporter.expire_after: 1m -> not set",
                ])
    }

    @Test("the mode of TLS, and the settings within one mode")
    func tls() throws {
        let old = "[exporter]\ntls = \"required\"\n[exporter.tls_server_config]\ncert_file = \"a.pem\"\nkey_file = \"k.pem\""
        let new =
            "[exporter]\ntls = \"optional\"\n[exporter.tls_server_config]\ncert_file = \"b.pem\"\nkey_file = \"k.pem\"\nmin_version = \"TLS13\""
        #expect(
            try changes(old, new) == [
                "exporter.tls: required -> optional", "exporter.tls_server_config.cert_file: a.pem -> b.pem",
                "exporter.tls_server_config.min_version: not set -> TLS13",
            ])
    }

    @Test("a new table of TLS has a line for each key that is written in it, and none for the others")
    func newTLS() throws {
        let new =
            "[exporter.tls_server_config]\ncert_file = \"a.pem\"\nkey_file = \"k.pem\"\nprefer_server_cipher_suites = false\n"
            + "[receiver]\nreceive_on_tcp_socket = true\n[receiver.tls_server_config]\ncert_file = \"a.pem\"\nkey_file = \"k.pem\""
        #expect(
            try changes("[receiver]\nreceive_on_tcp_socket = true", new) == [
                "exporter.tls_server_config.cert_file: not set -> a.pem", "exporter.tls_server_config.key_file: not set -> k.pem",
                "exporter.tls_server_config.prefer_server_cipher_suites: not set -> false",
                "receiver.tls_server_config.cert_file: not set -> a.pem", "receiver.tls_server_config.key_file: not set -> k.pem",
                "exporter.tls: off -> required", "receiver.tls: off -> required",
            ])
    }

    @Test("a general setting is told once, a target's own with the target")
    func targets() throws {
        func config(_ general: Int, _ own: Int) -> String {
            """
            [poll_external]
            poll_other_scrape_endpoints = true
            other_scrape_endpoints = ["http://a/m", "http://b/m"]
            poll_interval = \(general)
            targets = [{ url = "http://c/m", name = "c", poll_interval = \(own) }]
            """
        }
        let (old, new) = try (loadedConfig(config(5, 6)), loadedConfig(config(7, 8)))
        let plan = ReloadPlan(from: old, to: new)
        #expect(plan.starts.count == 3)
        #expect(plan.changes == ["poll_external.poll_interval: 5s -> 7s", "target c: poll_interval: 6s -> 8s"])
    }
    @Test("a new user or password in a URL is told and not shown, in both places of a target")
    func userInfo() throws {
        let start = "[poll_external]\npoll_other_scrape_endpoints = true\n"
        func listed(_ userInfo: String) -> String { "\(start)other_scrape_endpoints = [\"http://\(userInfo)a/m\"]" }
        func table(_ userInfo: String, _ more: String = "") -> String { "\(start)targets = [{ url = \"http://\(userInfo)a/m\"\(more) }]" }
        let line = "target external_poll: a:80: user or password in url has changed"
        for (old, new) in [("u:one@", "u:two@"), ("u:one@", "v:one@"), ("u@", "u:one@"), ("", "u:one@"), ("u:one@", "")] {
            #expect(try changes(listed(old), listed(new)) == [line], "\(old) \(new)")
            #expect(try changes(table(old), table(new)) == [line], "\(old) \(new)")
            #expect(try changes(listed(old), table(new)) == [line], "\(old) \(new)")
        }
        #expect(try changes(listed("u:one@"), table("u:one@")) == [])
        // Nothing is told of labels, which neither has.
        let interval = "target external_poll: a:80: poll_interval: not set -> 7s"
        #expect(try changes(listed("u:one@"), table("u:one@", ", poll_interval = 7")) == [interval])
        #expect(try changes(listed(""), table("", ", poll_interval = 7")) == [interval])
    }

    @Test("a change in a part of a value that is not shown is a line too")
    func notShown() throws {
        func config(_ end: String) -> String {
            let labels = "{ l = \"\(String(repeating: "x", count: 300))\(end)\" }"
            return "[poll_external]\npoll_other_scrape_endpoints = true\ntargets = [{ url = \"http://a/m\", labels = \(labels) }]"
        }
        #expect(try changes(config("1"), config("2")) == ["a setting has changed in a part that is not shown"])
    }

    @Test("a long list is cut in its line, and a change beyond the cut is told")
    func longList() throws {
        let hosts = (0..<1000).map { "\"host\($0).example\"" }.joined(separator: ", ")
        let lines = try changes("", "[exporter]\nallowed_hosts = [\(hosts)]")
        #expect(lines.count == 1 && lines[0].hasPrefix("exporter.allowed_hosts: [] -> [\"host0.example\", ") && lines[0].hasSuffix("…"))
        #expect(lines[0].count < 1100)
        #expect(
            try changes("[exporter]\nallowed_hosts = [\(hosts)]", "[exporter]\nallowed_hosts = [\(hosts), \"a.example\"]") == [
                "exporter.allowed_hosts has changed"
            ])
    }
}
