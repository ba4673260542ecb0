import TestSupport
import Testing

@Test("an HTTP/1.0 client gets its answer and the end of the connection")
func http10GetsAnAnswerAndAClose() async throws {
    try await withProxy(Configurations.scrape) { proxy in
        let answer = try await curl("http://\(proxy.scrape)/-/healthy", ["--http1.0"])
        #expect(answer.status == 200)
        // nc ends only when the proxy closes.
        let request = Array("GET /-/healthy HTTP/1.0\r\n\r\n".utf8)
        let raw = try await run(Tools.netcat, ["127.0.0.1", proxy.scrapePort], input: request)
        #expect(raw.output.split(separator: "\r\n").first?.hasSuffix(" 200 OK") == true)
    }
}
