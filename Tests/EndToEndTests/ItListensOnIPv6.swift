import TestSupport
import Testing

@Suite(.enabled("IPv6 on the loopback interface") { await hasIPv6() }) struct ItListensOnIPv6 {
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

    @Test("[::] leaves IPv4 to a 0.0.0.0 of the same port beside it", arguments: [["[::]", "0.0.0.0"], ["0.0.0.0", "[::]"]])
    func bothWildcards(hosts: [String]) async throws {
        let port = try reservePort()
        let both = hosts.map { "\($0):\(port)" }
        try await withProxy(Configurations.scrape.replacing("\"127.0.0.1:0\"", with: "\(both)")) { proxy in
            #expect(proxy.scrapeAddresses == both)
            try await expectMetrics(at: "127.0.0.1:\(port)")
            try await expectMetrics(at: "[::1]:\(port)")
        }
    }

    private func expectMetrics(at address: String) async throws {
        let answer = try await curl("http://\(address)/metrics")
        #expect(answer.status == 200)
    }
}

private func hasIPv6() async -> Bool {
    let script = "import socket; socket.socket(socket.AF_INET6).bind(('::1', 0))"
    return (try? await run(Tools.python, ["-c", script]))?.succeeded ?? false
}
