import TestSupport
import Testing

@Test("curl --compressed gets a gzip answer that unpacks to the plain one")
func curlGetsTheSameBodyCompressed() async throws {
    // Quotes and line ends as JSON wants them.
    let metrics = (0..<5_000).map { #"requests_total{path=\"/some/path/\#($0)\"} \#($0 * 7)"# }.joined(separator: #"\n"#)
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        #expect(try await pushOverUnixSocket(#"{"big": "\#(metrics)", "small": "x 1"}"#, to: proxy) == "")
        let url = "http://\(proxy.scrape)/metrics?app=big&app=small"
        let plain = try await curl(url)
        let zipped = try await curl(url, ["--compressed"])
        let raw = try await curl(url, ["--header", "Accept-Encoding: gzip"])
        let refused = try await curl(url, ["--header", "Accept-Encoding: gzip;q=0"])
        #expect(plain.bodyBytes.count > 100_000)
        #expect(zipped.headers["content-encoding"] == "gzip")
        #expect(zipped.bodyBytes == plain.bodyBytes)
        #expect(raw.headers["content-length"] == "\(raw.bodyBytes.count)")
        #expect(raw.bodyBytes.count < plain.bodyBytes.count / 2)
        #expect(raw.headers["vary"]?.lowercased() == "accept-encoding")
        #expect(refused.headers["content-encoding"] == nil)
        #expect(refused.bodyBytes == plain.bodyBytes)
    }
}
