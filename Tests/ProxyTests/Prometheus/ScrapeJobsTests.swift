import Proxy
import Testing

@Suite struct ScrapeJobsTests {
    private func yaml(_ text: String, host: String? = nil) throws -> String {
        let loaded = try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: Array(text.utf8)))
        return ScrapeJobs(loaded.config.exporter, host: host, hostname: "this-machine").yaml
    }

    /// The lines that are no comments.
    private func entry(_ text: String, host: String? = nil) throws -> [String] {
        try yaml(text, host: host).split(separator: "\n").map(String.init).filter { !$0.drop { $0 == " " }.hasPrefix("#") }
    }

    private let tls = "[exporter.tls_server_config]\ncert_file = \"a.pem\"\nkey_file = \"b.pem\"\n"

    @Test("plain HTTP on all addresses: this machine's name; a job for the apps and one for the proxy itself")
    func plain() throws {
        let apps = [
            "scrape_configs:",
            "  - job_name: exporter-proxy-apps",
            "    honor_labels: true",
            "    http_sd_configs:",
            "      - url: \"http://this-machine:6555/sd\"",
            "    scheme: http",
            "    relabel_configs:",
            "      - source_labels: [app]",
            "        target_label: job",
            "      - source_labels: [__address__]",
            "        regex: \"(.+):[0-9]+\"",
            "        target_label: instance",
        ]
        let own = [
            "  - job_name: exporter-proxy",
            "    metrics_path: /metrics/self",
            "    scheme: http",
            "    static_configs:",
            "      - targets: [\"this-machine:6555\"]",
            "    relabel_configs:",
            "      - source_labels: [__address__]",
            "        regex: \"(.+):[0-9]+\"",
            "        target_label: instance",
        ]
        #expect(try entry("") == apps + own)
        #expect(try entry("[exporter]\nself_metrics = false\n") == apps)
    }

    @Test("with allowed_hosts, the target is one of them; another one that is asked for gets a remark")
    func allowedHosts() throws {
        let config = "[exporter]\nallowed_hosts = [\"Metrics.example\", \"this-machine\"]\n"
        #expect(try entry(config).contains("      - targets: [\"this-machine:6555\"]"))
        let other = config.replacing(", \"this-machine\"", with: "")
        #expect(try entry(other).contains("      - targets: [\"metrics.example:6555\"]"))
        #expect(try !yaml(other).contains("421"))
        #expect(try !yaml(other, host: "METRICS.example").contains("421"))
        #expect(try yaml(other, host: "elsewhere").contains("# allowed_hosts does not have elsewhere: without it the proxy answers 421."))
    }

    @Test("of allowed_hosts, a name that others can reach is the target; if there is none, a remark says so")
    func allowedLocalHosts() throws {
        let config = "[exporter]\nallowed_hosts = [\"localhost\", \"127.0.0.1\", \"[::1]\", \"metrics.example.\"]\n"
        #expect(try entry(config).contains("      - targets: [\"metrics.example:6555\"]"))
        #expect(try !yaml(config, host: "metrics.example.").contains("421"))
        let local = config.replacing(", \"metrics.example.\"", with: "")
        #expect(try entry(local).contains("      - targets: [\"localhost:6555\"]"))
        #expect(
            try yaml(local).contains("# allowed_hosts has only names of this machine: only a Prometheus on the same machine reaches it."))
    }

    @Test("of allowed_hosts, localhost is the target where only this machine reaches the address", arguments: ["127.0.0.1:1", "[::1]:1"])
    func allowedHostsOfLoopback(address: String) throws {
        let hosts = "allowed_hosts = [\"127.0.0.2\", \"metrics.example\", \"localhost\"]\n"
        let config = "[exporter]\nscrape_expose_endpoint = \"\(address)\"\n" + hosts
        #expect(try entry(config).contains("      - targets: [\"localhost:1\"]"))
        let other = config.replacing(", \"localhost\"", with: "")
        #expect(try entry(other).contains("      - targets: [\"metrics.example:1\"]"))
        // Debian gives this address to the host's own name.
        let another = config.replacing(address, with: "127.0.1.1:1")
        #expect(try entry(another).contains("      - targets: [\"metrics.example:1\"]"))
    }

    @Test(
        "a host that Prometheus would not take, or that has a port, is refused",
        arguments: [
            "", "a:1", "a:", "[::1]:1", "[::1]:", ":::", "1:2:3", "fe80::1%eth0", "[fe80::1%eth0]", "%41", "h\\x", "a b", "a/b", "u@h",
            "[::1",
            "[]", "a..b", "1.2.3", "caf\u{E9}",
        ])
    func refusesHost(host: String) {
        #expect(throws: TargetURL.Malformed.self) { try ScrapeJobs.host(host) }
    }

    @Test(
        "a name and an address are a host as they are written",
        arguments: ["Metrics.example.org", "a_b", "1.2.3.4", "::1", "[::1]", "FD00::1"])
    func takesHost(host: String) throws {
        #expect(try ScrapeJobs.host(host) == host)
    }

    @Test("an address is one of allowed_hosts however it is written", arguments: ["::1", "[::1]", "[0:0::1]", "::0001"])
    func allowedAddress(host: String) throws {
        #expect(try !yaml("[exporter]\nallowed_hosts = [\"::1\"]\n", host: host).contains("421"))
        #expect(try yaml("[exporter]\nallowed_hosts = [\"::2\"]\n", host: host).contains("421"))
    }

    @Test("TLS: scheme and authority")
    func encrypted() throws {
        for mode in ["", "[exporter]\ntls = \"required\"\n", "[exporter]\ntls = \"optional\"\n"] {
            let lines = try entry(mode + tls)
            #expect(lines.contains("    scheme: https"))
            #expect(lines.contains("    tls_config:") && lines.contains("      ca_file: ca.pem"))
        }
        let off = try entry("[exporter]\ntls = \"off\"\n" + tls)
        #expect(off.contains("    scheme: http") && !off.contains("    tls_config:"))
    }

    @Test(
        "a client certificate is asked for where the handshake fails without one",
        arguments: [
            ("NoClientCert", false), ("RequestClientCert", false), ("RequireAnyClientCert", true), ("VerifyClientCertIfGiven", false),
            ("RequireAndVerifyClientCert", true),
        ])
    func clientCertificate(type: String, isNeeded: Bool) throws {
        let authority = type.contains("Verify") ? "client_ca_file = \"c.pem\"\n" : ""
        let yaml = try yaml("[exporter]\ntls = \"required\"\n" + tls + "client_auth_type = \"\(type)\"\n" + authority)
        #expect(yaml.contains("# cert_file: client.pem") == isNeeded)
        #expect(yaml.contains("# key_file: client-key.pem") == isNeeded)
    }

    @Test(
        "the target is the host that is given, else the address that can be reached",
        arguments: [
            ("\"0.0.0.0:1\"", nil, "this-machine:1"), ("\"[::]:1\"", nil, "this-machine:1"), ("\"10.0.0.1:1\"", nil, "10.0.0.1:1"),
            ("\"[fd00::1]:1\"", nil, "[fd00::1]:1"), ("\"127.0.0.1:1\"", nil, "127.0.0.1:1"),
            ("[\"127.0.0.1:1\", \"10.0.0.1:2\"]", nil, "10.0.0.1:2"), ("\"10.0.0.1:1\"", "h.example.org", "h.example.org:1"),
            ("\"0.0.0.0:1\"", "fd00::2", "[fd00::2]:1"), ("\"0.0.0.0:1\"", "[fd00::2]", "[fd00::2]:1"),
            ("\"0.0.0.0:0\"", nil, "this-machine:6555"), ("\"[::ffff:0.0.0.0]:1\"", nil, "this-machine:1"),
        ] as [(String, String?, String)])
    func target(addresses: String, host: String?, target: String) throws {
        #expect(try entry("[exporter]\nscrape_expose_endpoint = \(addresses)\n", host: host).contains("      - targets: [\"\(target)\"]"))
    }

    @Test("with users, one of them and a file for the password; never the hash")
    func basicAuth() throws {
        let hash = "$2y$10$" + String(repeating: "a", count: 53)
        let yaml = try yaml("[exporter.basic_auth_users]\n\"b\\\"c\" = \"\(hash)\"\nd = \"\(hash)\"\n")
        #expect(yaml.contains("    basic_auth:\n      username: \"b\\\"c\"\n      password_file: exporter-proxy.password\n"))
        #expect(!yaml.contains("$2y$"))
    }

    @Test("the characters of a user that are line breaks in YAML, or that YAML forbids, are escaped")
    func charactersOfYAML() throws {
        let hash = "$2y$10$" + String(repeating: "a", count: 53)
        let yaml = try yaml("[exporter.basic_auth_users]\n\"a\\u2028\\u2029\\uFFFE\\uFFFFü😀\" = \"\(hash)\"\n")
        #expect(yaml.contains("      username: \"a\\u2028\\u2029\\ufffe\\uffffü😀\"\n"))
    }

    @Test("what does not fit is said in a comment")
    func notes() throws {
        #expect(
            try yaml("[exporter]\nscrape_expose_endpoint = \"0.0.0.0:0\"\n").contains(
                "# scrape_expose_endpoint lets the system pick the port"))
        #expect(
            try yaml("[exporter]\nscrape_expose_endpoint = \"[::1]:1\"\n").contains(
                "# scrape_expose_endpoint is [::1]:1: only a Prometheus on the same"))
    }
}
