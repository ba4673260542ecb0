import TestSupport
import Testing

@Suite struct ItListensOnIPv6 {
    @Test("an IPv6 address is listened on, and named with its brackets")
    func loopback() async throws {
        let receivers = Configurations.receivers().replacing("127.0.0.1:0", with: "[::1]:0")
        try await withProxy(Configurations.scrape.replacing("127.0.0.1:0", with: "[::1]:0") + receivers) { proxy in
            #expect(proxy.scrape == "[::1]:\(proxy.scrapePort)")
            let pushed = try await run(Tools.netcat, ["-N", "::1", proxy.tcpPort], input: Array(#"{"app": "a 1"}"#.utf8))
            #expect(pushed.succeeded && pushed.output == "")
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=app").body == "a 1\n")
            #expect(try await curl("http://\(proxy.scrape)/apps").body.contains("| [::1]:\(proxy.tcpPort) "))
        }
    }

    @Test("[::] serves IPv4 too")
    func wildcard() async throws {
        try await withProxy(Configurations.scrape.replacing("127.0.0.1:0", with: "[::]:0")) { proxy in
            try await expectMetrics(at: "127.0.0.1:\(proxy.scrapePort)")
            try await expectMetrics(at: "[::1]:\(proxy.scrapePort)")
        }
    }

    @Test("[::] leaves IPv4 to a 0.0.0.0 of the same port beside it")
    func bothWildcards() async throws {
        // A port that was free a moment ago: both must have the same.
        let picked = try await run(
            Tools.python, ["-c", "import socket; s = socket.create_server(('0.0.0.0', 0)); print(s.getsockname()[1])"])
        let port = picked.output.filter(\.isNumber)
        let both = "[\"[::]:\(port)\", \"0.0.0.0:\(port)\"]"
        try await withProxy(Configurations.scrape.replacing("\"127.0.0.1:0\"", with: both)) { proxy in
            #expect(proxy.scrapeAddresses == ["[::]:\(port)", "0.0.0.0:\(port)"])
            try await expectMetrics(at: "127.0.0.1:\(port)")
            try await expectMetrics(at: "[::1]:\(port)")
        }
    }

    private func expectMetrics(at address: String) async throws {
        let answer = try await curl("http://\(address)/metrics")
        #expect(answer.status == 200)
    }
}
