import TestSupport
import Testing

@Test("a target of plain HTTP may redirect to HTTPS, with or without TLS settings of its own", arguments: [true, false])
func redirectsLeadToTLS(trustsTheAuthority: Bool) async throws {
    try await withTemporaryFolder { folder in
        try await withRedirectingTargets(in: folder) { targets in
            let target = """
                [[poll_external.targets]]
                url = "http://localhost:\(targets.plain)/upgrade"
                \(trustsTheAuthority ? "tls_config = { ca_file = \"\(folder.path("certs/ca.pem"))\" }" : "")
                """
            try await withProxy(Configurations.scrape + Configurations.polledOnce + target) { proxy in
                try await waitUntilReady(proxy)
                let apps = try await curl("http://\(proxy.scrape)/apps?format=json").body
                let metrics = try await curl("http://\(proxy.scrape)/metrics").body
                #expect(metrics.hasPrefix("away 1\n") == trustsTheAuthority, "\(apps)")
                #expect(apps.contains("certificate not trusted") == !trustsTheAuthority, "\(apps)")
            }
        }
    }
}
