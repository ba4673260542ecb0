import TestSupport
import Testing

@Test("a sender that stops within a message is told after idle_timeout, and loses what it had not finished")
func aSenderThatStopsIsTold() async throws {
    let config = Configurations.scrape + Configurations.receivers(format: "json", "idle_timeout = \"300ms\"")
    try await withProxy(config) { proxy in
        // Its input never ends, so that nc keeps its side open.
        let script = "{ printf '{\"kept\": \"kept 1\"} {\"lost\": '; sleep 30; } | exec '\(Tools.netcat)' 127.0.0.1 \(proxy.tcpPort)"
        try await withProgram("sh", ["-c", script]) { sender in
            try await wait(for: "the reason") {
                String(decoding: sender.outputBytes, as: UTF8.self)
                    == "error: nothing came for idle_timeout within a message: nothing of that message was applied\n"
            }
        }
        #expect(try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix("kept 1\n"))
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=lost").status == 404)
    }
}
