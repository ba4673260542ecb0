import TestSupport
import Testing

@Test("at max_apps a new app is refused, and the old ones can still be updated")
func aFullStoreRefusesAndKeepsWhatItHad() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers("max_apps = 2")) { proxy in
        #expect(try await pushOverUnixSocket(#"{"a": "a 1", "b": "b 1"}"#, to: proxy) == "")
        let answer = try await pushOverUnixSocket(#"{"c": "c 1"}"#, to: proxy)
        #expect(answer.hasPrefix("error: "))
        #expect(answer.contains("2"), "the limit is named: \(answer)")
        #expect(try await pushOverUnixSocket(#"{"a": "a 2"}"#, to: proxy) == "")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=a&app=b&app=c").body == "a 2\nb 1\n")
    }
}
