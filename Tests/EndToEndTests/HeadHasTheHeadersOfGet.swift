import TestSupport
import Testing

@Test("HEAD answers with the headers of GET and no body", arguments: ["identity", "gzip"])
func headHasTheHeadersOfGet(encoding: String) async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        #expect(try await pushOverUnixSocket(#"{"a": "a_metric 1"}"#, to: proxy) == "")
        let url = "http://\(proxy.scrape)/metrics?app=a"
        let options = ["--header", "Accept-Encoding: \(encoding)"]
        let get = try await curl(url, options)
        let head = try await curl(url, options + ["--head"])
        #expect(get.bodyBytes.isEmpty == false)
        #expect(head.status == 200)
        #expect(head.bodyBytes.isEmpty)
        for name in ["content-type", "content-length", "content-encoding", "vary"] {
            #expect(head.headers[name] == get.headers[name], "\(name)")
        }
    }
}
