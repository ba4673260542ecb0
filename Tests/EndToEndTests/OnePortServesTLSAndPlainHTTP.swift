import TestSupport
import Testing

@Test("with tls = \"optional\" one port answers in plain HTTP and in TLS")
func onePortServesTLSAndPlainHTTP() async throws {
    try await withProxy(Configurations.scrape(tls: "optional"), certificates: true) { proxy in
        let plain = try await curl("http://127.0.0.1:\(proxy.scrapePort)/-/healthy")
        let secured = try await curl("https://127.0.0.1:\(proxy.scrapePort)/-/healthy", ["--cacert", proxy.caFile])
        #expect(plain.status == 200)
        #expect(secured.status == 200)
        #expect(plain.body == secured.body)
    }
}
