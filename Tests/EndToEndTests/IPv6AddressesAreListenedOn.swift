import TestSupport
import Testing

@Test("an IPv6 address is listened on, and is shown in brackets", .enabled("IPv6 on the loopback interface") { await hasIPv6() })
func anIPv6AddressIsListenedOn() async throws {
    let config = """
        [exporter]
        scrape_expose_endpoint = "[::1]:0"
        [receiver]
        receive_on_tcp_socket = true
        receiver_tcp_socket = "[::1]:0"

        """
    try await withProxy(config) { proxy in
        let port = proxy.tcpPort
        let pushed = try await run(Tools.netcat, ["-N", "::1", port], input: Array(#"{"a": "a 1"}"#.utf8))
        #expect(pushed.output == "")
        #expect(try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix("a 1\n"))
        #expect(try await curl("http://\(proxy.scrape)/apps").body.contains(" [::1]:\(port) "))
    }
}

@Test(
    "[::] serves IPv4 too, unless 0.0.0.0 is listed beside it with the same port",
    .enabled("IPv6 on the loopback interface") { await hasIPv6() })
func theIPv6WildcardServesIPv4Too() async throws {
    try await withProxy("[exporter]\nscrape_expose_endpoint = \"[::]:0\"\n") { proxy in
        try await expectBothFamilies(onPort: proxy.scrapePort)
    }
    let picked = try await run(Tools.python, ["-c", "import socket; s = socket.create_server(('0.0.0.0', 0)); print(s.getsockname()[1])"])
    let port = picked.output.filter(\.isNumber)
    try await withProxy("[exporter]\nscrape_expose_endpoint = [\"0.0.0.0:\(port)\", \"[::]:\(port)\"]\n") { _ in
        try await expectBothFamilies(onPort: port)
    }
}

private func expectBothFamilies(onPort port: String) async throws {
    for host in ["127.0.0.1", "[::1]"] {
        #expect(try await curl("http://\(host):\(port)/-/healthy").status == 200)
    }
}

private func hasIPv6() async -> Bool {
    let script = "import socket; socket.socket(socket.AF_INET6).bind(('::1', 0))"
    return (try? await run(Tools.python, ["-c", script]))?.succeeded ?? false
}
