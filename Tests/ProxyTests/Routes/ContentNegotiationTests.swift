import Testing

@testable import Proxy

@Suite("Content negotiation")
struct ContentNegotiationTests {
    @Test(
        "gzip is sent when it is wanted no less than plain bytes",
        arguments: [
            "gzip", "GZIP", "x-gzip", "gzip, deflate", "gzip, deflate, br, zstd", "deflate, gzip;q=1.0, *;q=0.5", "gzip;q=0.5",
            " gzip ; q=0.001 ", "gzip;Q=0.5", "br;q=1.0, gzip;q=0.8, *;q=0.1", "*", "*;q=0.1", "identity;q=0.5, gzip", "identity, gzip",
            "identity;q=0", "gzip, *;q=0", "*;q=0, gzip", "gzip;q=0, x-gzip", "identity;q=0.5, *", ",,gzip,", "deflate,gzip",
            "gzip;quality=0", "gzip;q", "gzip;q x",
        ])
    func gzip(header: String) {
        #expect(ContentNegotiation.prefersGzip(header))
    }

    @Test(
        "plain bytes are sent to everyone else",
        arguments: [
            nil, "", "identity", "deflate, br", "gzip;q=0", "gzip;q=0.0", "gzip;q=0.000", "x-gzip;q=0", "gzip;q=0, *", "*;q=0",
            "identity;q=0, gzip;q=0",
            "gzip;q=0.5, identity", "gzip;q=0.5, identity;q=0.6", "gzip;q=x", "gzip;q=1.5", "gzip;q=-1", "gzip;q=0.1234", "gzip;q=",
            "gzip; q = 0", "gzip;q =1", "gzip;Q\t=1",
            "gzipped",
            "identity, *;q=0.5", "gzip;q=0.2, *;q=0.3", "\"gzip", "\"gzip, br\"",
        ])
    func identity(header: String?) {
        #expect(!ContentNegotiation.prefersGzip(header))
    }

    @Test(
        "text is sent unless something else is wanted more",
        arguments: [
            // curl, no header, a browser (until there is a page for it).
            "*/*", nil, "", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            // Prometheus 2 and 3.
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.2",
            "text/plain", "TEXT/plain", "text/*", "text/plain, application/json", "application/json;q=0.5, text/plain",
            "application/json;q=0",
            "image/png", "text/plain;q=0.5, application/json;q=0.4", "application/json;q=bad", "text/*, application/json;q=0.9",
            "text/plain;x=\"a,application/json\";q=0.9, application/*;q=0.8",
        ])
    func text(header: String?) {
        #expect(ContentNegotiation.preferred(of: offered, accept: header) == "text")
    }

    @Test(
        "JSON is sent when asked for",
        arguments: [
            "application/json", "Application/JSON", "application/json; charset=utf-8", "application/json, text/plain, */*",
            "application/json, text/plain;q=0.9", "application/json, */*", "*/*, application/json", "application/*", "text/plain;q=0, */*",
            "text/plain;q=0.5, application/json;q=0.6", "text/html, application/json;q=0.9, */*;q=0.8", " application/json ;q=0.1",
        ])
    func json(header: String) {
        #expect(ContentNegotiation.preferred(of: offered, accept: header) == "json")
    }

    @Test("the first 32 elements count, empty ones not among them, as far as they are within the first 1,024 bytes")
    func absurd() {
        func json(after beginning: String) -> Bool {
            ContentNegotiation.preferred(of: offered, accept: beginning + "application/json") == "json"
        }
        let room = 1024 - "application/json".utf8.count
        #expect(json(after: String(repeating: "a/b,", count: 31)))
        #expect(!json(after: String(repeating: "a/b,", count: 32)))
        #expect(json(after: String(repeating: " ,", count: 100) + String(repeating: "a/b,,", count: 31)))
        #expect(json(after: String(repeating: ",", count: room)))
        #expect(!json(after: String(repeating: ",", count: room + 1)))
        #expect(ContentNegotiation.preferred(of: offered, accept: "application/json," + String(repeating: ",", count: 15_000)) == "json")
        // Cut before its weight, it would be wanted more than it is.
        let cut = "text/plain;q=0.5," + String(repeating: ",", count: 1024 - 17 - 16) + "application/json;q=0.1"
        #expect(ContentNegotiation.preferred(of: offered, accept: cut) == "text")
        #expect(!ContentNegotiation.prefersGzip(String(repeating: ",", count: 1024) + "gzip"))
    }

    private let offered = [(type: "text/plain", form: "text"), (type: "application/json", form: "json")]
}
