import TestSupport
import Testing

@Test("promtool check metrics accepts the samples as they are exposed")
func promtoolAcceptsTheMetrics() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        #expect(try await pushOverUnixSocket(client("json_array.json"), to: proxy) == "")
        #expect(try await pushOverTCP(client("json_string.json"), to: proxy) == "")
        let metrics = try await curl("http://\(proxy.scrape)/metrics")
        let check = try await run(Tools.promtool, ["check", "metrics"], input: metrics.bodyBytes)
        #expect(check.succeeded, "\(check.output)\(check.errors)")
        #expect(check.output + check.errors == "")
    }
}
