import TestSupport
import Testing

@Test("with tls = \"required\" plain HTTP gets a readable 400 and no metrics, and TLS goes on working")
func requiredTLSRefusesPlainHTTP() async throws {
    try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { proxy in
        let refused = try await curl("http://127.0.0.1:\(proxy.scrapePort)/metrics")
        #expect(refused.status == 400)
        #expect(refused.body == "this port speaks HTTPS; use https://\n")
        let answer = try await curl("https://127.0.0.1:\(proxy.scrapePort)/-/healthy", ["--cacert", proxy.caFile])
        #expect(answer.status == 200)
        // Nor does a reset overtake the answer when the client has sent far more than was read.
        let sender = try RawConnection(to: "127.0.0.1:\(proxy.scrapePort)")
        try sender.send(
            "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + String(repeating: "x", count: 100_000))
        let told = try await sender.receiveToEnd()
        #expect(told.hasPrefix("HTTP/1.1 400 ") && told.hasSuffix("use https://\n"), "\(told)")
    }
}
