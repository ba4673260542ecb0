import TestSupport
import Testing

@Test(
    "a refused push gets one error line, over TCP and over the Unix socket, and what was stored stays",
    arguments: [
        ("no JSON", "metric 1\n", "json"),
        ("not an object", "[1, 2]", "json"),
        ("metrics that are no text", #"{"kept": 1}"#, "json"),
        ("cut short", #"{"kept": "new 1"#, "json"),
        ("an empty name", #"{"": "new 1"}"#, "json"),
        ("a control character in the name", #"{"a\nb": "new 1"}"#, "json"),
        ("a NUL", #"{"kept": "new\u0000 1"}"#, "json"),
        ("not UTF-8", "{\"kept\": \"\u{1}\"}", "json"),
        ("one good app beside a bad one", #"{"kept": "new 1", "": "x 1"}"#, "json"),
        ("larger than max_message_size", #"{"kept": ""# + String(repeating: "x 1\\n", count: 1_000) + #""}"#, "json"),
    ])
func refusedPushGetsItsReason(what: String, message: String, format: String) async throws {
    // \u{1} stands for a byte that no UTF-8 text has.
    let bytes = message.utf8.map { $0 == 1 ? 0xFF : $0 }
    try await withProxy(Configurations.scrape + Configurations.receivers(format: format, "max_message_size = 2048")) { proxy in
        #expect(try await pushOverUnixSocket(#"{"kept": "old 1"}"#, to: proxy) == "")
        for answer in [try await pushOverUnixSocket(bytes, to: proxy), try await pushOverTCP(bytes, to: proxy)] {
            #expect(answer.hasPrefix("error: "), "\(what): \(answer)")
            #expect(answer.hasSuffix("\n"), "\(what): \(answer)")
            #expect(answer.filter { $0 == "\n" }.count == 1, "\(what): \(answer)")
        }
        #expect(try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix("old 1\n"))
        let warned = proxy.log.split(separator: "\n").filter { $0.contains("refused") || $0.contains("reject") }
        #expect(warned.count >= 2, "\(proxy.log)")
    }
}

@Test("a receiver for Cap'n Proto says so to a sender of JSON")
func aCapnpReceiverSaysSoToJSON() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers(format: "capnp")) { proxy in
        let answer = try await pushOverUnixSocket(client("json_string.json"), to: proxy)
        #expect(answer.hasPrefix("error: "))
        #expect(answer.lowercased().contains("capnp") || answer.lowercased().contains("cap'n proto"), "\(answer)")
    }
}

@Test("what was applied on a connection before a refused message stays applied")
func whatWasAppliedBeforeARefusalStays() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        let answer = try await pushOverUnixSocket(#"{"first": "first 1"} {"second": 2} {"third": "third 1"}"#, to: proxy)
        #expect(answer.hasPrefix("error: "))
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=first").body == "first 1\n")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=third").status == 404)
    }
}
