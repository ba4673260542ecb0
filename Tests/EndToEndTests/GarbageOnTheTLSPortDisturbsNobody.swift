import TestSupport
import Testing

@Test("garbage on the TLS port is closed, and the next client is served")
func garbageOnTheTLSPortDisturbsNobody() async throws {
    try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { proxy in
        let garbage: [[UInt8]] = [
            Array(repeating: 0xFF, count: 4096),
            // A handshake record whose content is not a ClientHello.
            [0x16, 0x03, 0x01, 0x00, 0x05] + Array(repeating: 0xAA, count: 5),
            Array("GET / HTTP/1.1\r\n\r\n".utf8),
        ]
        for bytes in garbage {
            // Without -N nc keeps its side open: only the proxy's close ends it.
            _ = try await run(Tools.netcat, ["127.0.0.1", proxy.scrapePort], input: bytes)
        }
        let answer = try await curl("https://127.0.0.1:\(proxy.scrapePort)/-/healthy", ["--cacert", proxy.caFile])
        #expect(answer.status == 200)
    }
}
