import TestSupport
import Testing

private func prometheusConfig(_ folder: TemporaryFolder, _ arguments: String...) async throws -> String {
    let result = try await run(
        ProxyProcess.executable, ["prometheus-config", "-c", "config.toml"] + arguments, workingFolder: folder.path)
    #expect(result.succeeded && result.errors == "", "\(result.errors)")
    return result.output
}

private func expectAccepted(_ config: String, in folder: TemporaryFolder) async throws {
    let file = try folder.write("prometheus.yml", config)
    let result = try await run(Tools.promtool, ["check", "config", file])
    #expect(result.succeeded, "\(result.output)\(result.errors)\(config)")
}

/// With the combined job, which is printed as a comment, in place of the others.
private func withCombinedJob(_ config: String) -> String {
    let lines = config.split(separator: "\n").map(String.init)
    guard let start = lines.firstIndex(where: { $0.hasPrefix("#  - job_name:") }) else { return "" }
    return "scrape_configs:\n" + lines[start...].map { $0.dropFirst() + "\n" }.joined()
}

@Suite struct PrometheusTakesThePrintedConfiguration {
    @Test(
        "promtool accepts what is printed, and the combined job in its place",
        arguments: [
            Configurations.scrape, Configurations.scrape(tls: "required"), Configurations.scrape(tls: "optional"), "",
            "[exporter]\nscrape_expose_endpoint = \"[::]:6555\"\n",
            "[exporter.basic_auth_users]\n\"a\\u2028\\u2029\\uFFFE\\uFFFF😀\" = \"$2y$10$\(String(repeating: "a", count: 53))\"\n",
            Configurations.scrape(tls: "required", "client_auth_type = \"RequireAndVerifyClientCert\"\nclient_ca_file = \"certs/ca.pem\""),
        ])
    func promtoolAcceptsIt(config: String) async throws {
        try await withTemporaryFolder { folder in
            // No file that the configuration names has to be there.
            try folder.write("config.toml", config)
            for arguments in [[], ["--host", "metrics.example.org"], ["--host", "fd00::1"]] {
                let result = try await run(
                    ProxyProcess.executable, ["prometheus-config", "-c", "config.toml"] + arguments, workingFolder: folder.path)
                #expect(result.succeeded && result.errors == "", "\(result.errors)")
                try await expectAccepted(result.output, in: folder)
                try await expectAccepted(withCombinedJob(result.output), in: folder)
            }
        }
    }

    @Test("a real Prometheus scrapes with what is printed, each app as a job of its own on this host; or all in one job")
    func prometheusScrapesWithIt() async throws {
        try await withProxy(Configurations.scrape(tls: "required") + Configurations.receivers(), certificates: true) { proxy in
            #expect(try await pushOverUnixSocket(#"{"one": "one_value 1", "two": "two_value{instance=\"own\"} 2"}"#, to: proxy) == "")
            // As an administrator would: the address in use, and the authority's certificate beside prometheus.yml.
            let running = Configurations.scrape(tls: "required").replacing("127.0.0.1:0", with: proxy.scrape)
            try proxy.folder.write("config.toml", running)
            let authority = try await run("cp", [proxy.caFile, proxy.folder.path("ca.pem")])
            #expect(authority.succeeded)
            let printed = try await prometheusConfig(proxy.folder, "--host", "localhost")
            let often = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            try await withPrometheus(often + printed, folder: proxy.folder) { prometheus in
                for (app, value) in [("one", "1"), ("two", "2")] {
                    let up = #"up{job="\#(app)",instance="localhost"}"#
                    try await wait(for: "the target of \(app)") { try await prometheus.query(up) == "1" }
                    try await wait(for: "the sample of \(app)") { try await prometheus.query("\(app)_value") == value }
                }
                try await wait(for: "the proxy's own metrics") {
                    try await prometheus.query(#"exporter_proxy_apps{job="exporter-proxy",instance="localhost"}"#) == "2"
                }
                try await wait(for: "the app's own label") { try await prometheus.query(#"two_value{instance="own"}"#) == "2" }
            }
            let target = "localhost:\(proxy.scrapePort)"
            try await withPrometheus(often + withCombinedJob(printed), folder: proxy.folder) { prometheus in
                try await wait(for: "the scrape") { try await prometheus.query(#"up{job="exporter-proxy"}"#) == "1" }
                try await wait(for: "the pushed sample") { try await prometheus.query("one_value{instance=\"\(target)\"}") == "1" }
            }
        }
    }

    @Test("a real Prometheus scrapes with the client certificate that is printed as a comment")
    func prometheusBringsItsCertificate() async throws {
        let server = "client_auth_type = \"RequireAndVerifyClientCert\"\nclient_ca_file = \"certs/ca.pem\""
        try await withProxy(Configurations.scrape(tls: "required", server), certificates: true) { proxy in
            let running = Configurations.scrape(tls: "required", server).replacing("127.0.0.1:0", with: proxy.scrape)
            try proxy.folder.write("config.toml", running)
            let copied = try await run("sh", ["-c", "cp certs/*.pem ."], workingFolder: proxy.folder.path)
            #expect(copied.succeeded)
            let printed = try await prometheusConfig(proxy.folder, "--host", "localhost")
            let uncommented = printed.replacing("      # cert_file", with: "      cert_file").replacing(
                "      # key_file", with: "      key_file")
            #expect(uncommented != printed)
            try await withPrometheus("global: {scrape_interval: 1s, scrape_timeout: 1s}\n" + uncommented, folder: proxy.folder) {
                prometheus in
                try await wait(for: "the scrape") { try await prometheus.query(#"up{job="exporter-proxy"}"#) == "1" }
            }
            try await withPrometheus("global: {scrape_interval: 1s, scrape_timeout: 1s}\n" + printed, folder: proxy.folder) { prometheus in
                try await wait(for: "a scrape without a certificate") { try await prometheus.query(#"up{job="exporter-proxy"}"#) == "0" }
            }
        }
    }

    @Test("a real Prometheus scrapes with the user that is printed, and the password in the file that is named")
    func prometheusBringsItsPassword() async throws {
        let hash = try await run(
            Tools.python, ["-W", "ignore", "-c", "import crypt; print(crypt.crypt('secret', '$2b$04$' + 'a' * 21 + 'u'), end='')"])
        #expect(hash.output.hasPrefix("$2b$04$"), "\(hash.errors)")
        let users = "[exporter.basic_auth_users]\nscraper = \"\(hash.output)\"\n"
        try await withProxy(Configurations.scrape + users) { proxy in
            try proxy.folder.write("config.toml", Configurations.scrape.replacing("127.0.0.1:0", with: proxy.scrape) + users)
            try proxy.folder.write("exporter-proxy.password", "secret\n")
            let printed = try await prometheusConfig(proxy.folder, "--host", "127.0.0.1")
            try await withPrometheus("global: {scrape_interval: 1s, scrape_timeout: 1s}\n" + printed, folder: proxy.folder) { prometheus in
                try await wait(for: "the scrape") { try await prometheus.query(#"up{job="exporter-proxy"}"#) == "1" }
            }
        }
    }

    @Test("a configuration with a mistake prints its problems, and nothing else")
    func mistakes() async throws {
        let result = try await runProxy("nonsense = 1\n", arguments: ["prometheus-config", "-c", "config.toml"])
        #expect(result.status == .exited(1))
        #expect(result.output == "" && result.errors.hasPrefix("config.toml:1:1: error: "), "\(result.errors)")
    }

    @Test(
        "usage errors of prometheus-config exit 64",
        arguments: [["--host", "a b"], ["--host", ""], ["--host", "host:1"], ["extra"], ["--host"]])
    func usageErrors(arguments: [String]) async throws {
        let result = try await runProxy("", arguments: ["prometheus-config"] + arguments)
        #expect(result.status == .exited(64), "\(result.output)")
    }
}
