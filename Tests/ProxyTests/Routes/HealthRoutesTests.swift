import Testing

@testable import Proxy

@Suite("Health routes")
struct HealthRoutesTests {
    private let side = ScrapeSide()

    @Test("/-/healthy answers 200, ready or not", arguments: [true, false])
    func healthy(isReady: Bool) throws {
        side.lifecycle.isReady = isReady
        let received = try side.send("GET", "/-/healthy")
        #expect(received.status == 200)
        #expect(received.text == "exporter-proxy is healthy\n")
        #expect(received[header: "Cache-Control"] == "no-store")
    }

    @Test("/-/ready answers 200 when ready, and 503 with the reason when not")
    func ready() throws {
        #expect(try side.send("GET", "/-/ready").status == 200)
        #expect(try side.send("GET", "/-/ready").text == "exporter-proxy is ready\n")
        side.lifecycle.isReady = false
        let received = try side.send("GET", "/-/ready")
        #expect(received.status == 503)
        #expect(received.text == "exporter-proxy is not ready: it is starting or stopping\n")
        #expect(received[header: "Cache-Control"] == "no-store")
    }
}
