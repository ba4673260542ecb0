import TestSupport
import Testing

@Test("a session of before is resumed after a rotation, and not after a change of the clients' authority", arguments: ["tls1_2", "tls1_3"])
func resumedSessions(version: String) async throws {
    let authority = try ThrowawayCA()
    let client = try authority.clientCertificate()
    let config = Configurations.scrape(
        tls: "required",
        """
        client_auth_type = "RequireAndVerifyClientCert"
        client_ca_file = "clients.pem"
        """)
    let prepare: (TemporaryFolder) async throws -> Void = { folder in
        try folder.write("clients.pem", authority.certificatePEM)
        try folder.write("client.pem", client.chainPEM + client.privateKeyPEM)
    }
    try await withProxy(config, certificates: true, prepare: prepare) { proxy in
        func connect(_ session: String) async throws -> String {
            let request = "printf 'GET /-/healthy HTTP/1.0\\r\\n\\r\\n'"
            let client = "openssl s_client -\(version) -connect \(proxy.scrape) -cert client.pem -key client.pem -ign_eof \(session)"
            return try await run("sh", ["-c", "\(request) | \(client) 2>&1"], workingFolder: proxy.folder.path).output
        }
        #expect(try await connect("-sess_out session.pem").contains("exporter-proxy is healthy"))
        #expect(proxy.folder.contains("session.pem"))
        try await proxy.save(config.replacing("[exporter]", with: "[exporter]\nidle_timeout = 7"))
        let resumed = try await connect("-sess_in session.pem")
        #expect(resumed.contains("Reused") && resumed.contains("exporter-proxy is healthy"), "\(resumed)")
        try await proxy.reloading { try proxy.replaceFile("clients.pem", ThrowawayCA(name: "Another").certificatePEM) }
        let refused = try await connect("-sess_in session.pem")
        #expect(!refused.contains("exporter-proxy is healthy"), "\(refused)")
    }
}
