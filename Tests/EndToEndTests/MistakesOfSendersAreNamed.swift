import TestSupport
import Testing

@Test(
    "a sender that sends something else than the receiver takes is told what it sent",
    arguments: [
        ("json", "{\"a\": \"a 1\na 2\"}", #"line 1 of the metrics of app "a" ends in a raw line break at byte 11: write \n in its place"#),
        ("json", "{\"a\":\"a 1\"}\0", "found byte 0x00 after an object"),
        ("json", "\u{1}\0\0\0{\"a\":\"a 1\"}", "found a number, perhaps a length, in front of a JSON object"),
        ("json", "# HELP a b\na 1\n", "a file of metrics is sent with exporter-proxy push"),
        ("capnp", "{\"a\":\"a 1\"}", "these bytes look like JSON"),
        ("capnp", "a_total 1\n", "a file of metrics is sent with exporter-proxy push"),
    ])
func mistakesOfSendersAreNamed(format: String, message: String, words: String) async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers(format: format)) { proxy in
        let answer = try await pushOverTCP(Array(message.utf8), to: proxy)
        #expect(answer.hasPrefix("error: ") && answer.contains(words), "\(answer)")
    }
}

@Test("curl sent to a receiver is answered in HTTP, and told where HTTP is taken", arguments: ["json", "capnp"])
func curlToAReceiverIsAnsweredInHTTP(format: String) async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers(format: format)) { proxy in
        let answer = try await curl("http://127.0.0.1:\(proxy.tcpPort)/metrics")
        #expect(answer.status == 400)
        #expect(answer.body.hasPrefix("error: this is an HTTP request, but this port takes "), "\(answer.body)")
        #expect(answer.body.contains("scrape_expose_endpoint") && answer.body.hasSuffix("\n"), "\(answer.body)")
    }
}
