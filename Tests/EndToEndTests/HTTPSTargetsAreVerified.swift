import TestSupport
import Testing

@Test(
    "an HTTPS target is polled only when its certificate can be trusted",
    arguments: [
        ("https://localhost", "[poll_external.tls_config]\nca_file = \"certs/ca.pem\"", true),
        ("https://127.0.0.1", "[poll_external.tls_config]\nca_file = \"certs/ca.pem\"", true),
        ("https://127.0.0.1", "[poll_external.tls_config]\nca_file = \"certs/ca.pem\"\nserver_name = \"localhost\"", true),
        ("https://127.0.0.1", "allow_invalid_certs = true", true),
        // The system's authorities do not know ours.
        ("https://127.0.0.1", "", false),
        // Trusted, but for other names.
        ("https://127.0.0.1", "[poll_external.tls_config]\nca_file = \"certs/ca.pem\"\nserver_name = \"example.org\"", false),
        ("https://127.0.0.2", "[poll_external.tls_config]\nca_file = \"certs/ca.pem\"", false),
    ])
func httpsTargetsAreVerified(origin: String, settings: String, trusted: Bool) async throws {
    try await withTemporaryFolder { pages in
        try pages.write("page", "page 1\n")
        try await ProxyProcess.makeCertificates(in: pages)
        // 127.0.0.2 needs a server on all of the loopback range.
        try await withSecurePageServer(folder: pages.path, certificates: pages.path("certs"), allLoopback: true) { server in
            let config = Configurations.scrape + Configurations.poll("\(origin):\(server.port)/page", more: settings)
            let ca = try await run("cat", [pages.path("certs/ca.pem")]).outputBytes
            try await withProxy(config, prepare: { folder in try folder.write("certs/ca.pem", ca) }) { proxy in
                try await waitUntilReady(proxy)
                let metrics = try await curl("http://\(proxy.scrape)/metrics").body
                let table = try await curl("http://\(proxy.scrape)/apps").body
                #expect(metrics.hasPrefix("page 1\n") == trusted, "\(table)\(proxy.log)")
                #expect(table.contains("never (failing)") == !trusted, "\(table)")
                if !trusted { #expect(proxy.log.contains("certificate"), "\(proxy.log)") }
            }
        }
    }
}
