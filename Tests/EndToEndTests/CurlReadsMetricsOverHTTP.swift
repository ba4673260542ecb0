import TestSupport
import Testing

@Test("curl reads pushed metrics over HTTP, byte for byte and in order of app name")
func curlReadsMetricsOverHTTP() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        let reason = try await pushOverUnixSocket(#"{"b": "b_metric 2", "a": ["a_metric{x=\"é\"}   1 ", "a_other 1\r"]}"#, to: proxy)
        #expect(reason == "")
        let answer = try await curl("http://\(proxy.scrape)/metrics")
        #expect(answer.status == 200)
        #expect(answer.version == "HTTP/1.1")
        #expect(answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
        #expect(answer.headers["content-length"] == "\(answer.bodyBytes.count)")
        #expect(answer.headers["vary"]?.lowercased() == "accept-encoding")
        #expect(answer.headers["content-encoding"] == nil)
        #expect(answer.bodyBytes.starts(with: Array("a_metric{x=\"é\"}   1 \na_other 1\r\nb_metric 2\n".utf8)))
    }
}
