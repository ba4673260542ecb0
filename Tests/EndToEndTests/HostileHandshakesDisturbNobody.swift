import TestSupport
import Testing

@Test("handshakes and records that break the rules are refused, each with its alert, and others are served")
func hostileHandshakesDisturbNobody() async throws {
    try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { proxy in
        let script = "\(checkout)/Tests/EndToEndTests/Support/hostile_handshakes.py"
        let result = try await run(Tools.testsPython, [script, proxy.scrapePort, proxy.caFile], within: .seconds(240))
        #expect(result.succeeded, "\(result.output)\(result.errors)")
        #expect(result.output.split(separator: "\n").count >= 45, "\(result.output)")
        #expect(proxy.program.exitStatus == nil)
        // Hundreds of handshakes failed; the log tells each reason once.
        let told = proxy.log.split(separator: "\n").filter { $0.contains("TLS handshake failed") }
        let reasons = told.compactMap { line in line.split(separator: " ").first { $0.hasPrefix("reason=") } }
        #expect(Set(reasons).count == reasons.count && reasons.count >= 5, "\(proxy.log)")
        #expect(told.allSatisfy { $0.contains("peer=127.0.0.1:") })
    }
}
