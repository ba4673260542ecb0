import TestSupport
import Testing

@Test("curl reads metrics over TLS with the development authority, by name and by address", arguments: ["localhost", "127.0.0.1"])
func curlReadsMetricsOverTLS(host: String) async throws {
    try await withProxy(Configurations.scrape(tls: "required") + Configurations.receivers(), certificates: true) { proxy in
        #expect(try await pushOverUnixSocket(#"{"a": "a_metric 1"}"#, to: proxy) == "")
        let answer = try await curl("https://\(host):\(proxy.scrapePort)/metrics", ["--cacert", proxy.caFile, "--ipv4"])
        #expect(answer.status == 200)
        #expect(answer.body.hasPrefix("a_metric 1\n"))
    }
}

@Test("curl without the development authority refuses the certificate")
func curlWithoutTheAuthorityRefuses() async throws {
    try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { proxy in
        let result = try await runCurl(["https://localhost:\(proxy.scrapePort)/metrics", "--ipv4"])
        // CURLE_PEER_FAILED_VERIFICATION
        #expect(result.status == .exited(60))
    }
}
