import TestSupport
import Testing

@Test("a target of plain HTTP may redirect to HTTPS, with or without TLS settings of its own", arguments: [true, false])
func redirectsLeadToTLS(trustsTheAuthority: Bool) async throws {
    try await withTemporaryFolder { folder in
        try await ProxyProcess.makeCertificates(in: folder)
        try await withProgram(
            Tools.python, ["\(checkout)/Tests/EndToEndTests/Support/redirecting_targets.py", folder.path("certs")],
            workingFolder: folder.path
        ) { servers in
            let plain = try await wait(for: "the ports of the targets") {
                let output = String(decoding: servers.outputBytes, as: UTF8.self)
                return output.contains("\n") ? output.split(whereSeparator: \.isWhitespace).dropFirst(2).first.map(String.init) : nil
            }
            let config =
                Configurations.scrape + """
                    [poll_external]
                    poll_other_scrape_endpoints = true
                    poll_interval = "10m"
                    client_timeout = "20s"
                    [[poll_external.targets]]
                    url = "http://localhost:\(plain)/upgrade"
                    \(trustsTheAuthority ? "tls_config = { ca_file = \"\(folder.path("certs/ca.pem"))\" }" : "")
                    """
            try await withProxy(config) { proxy in
                try await waitUntilReady(proxy)
                let apps = try await curl("http://\(proxy.scrape)/apps?format=json").body
                let metrics = try await curl("http://\(proxy.scrape)/metrics").body
                #expect(metrics.hasPrefix("away 1\n") == trustsTheAuthority, "\(apps)")
                #expect(apps.contains("certificate not trusted") == !trustsTheAuthority, "\(apps)")
            }
        }
    }
}
