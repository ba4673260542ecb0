import TestSupport
import Testing

@Test("two proxies that poll each other do not grow: a poll fails whose answer contains the polling proxy's metrics")
func proxiesPollEachOther() async throws {
    let ports = [try reservePort(), try reservePort()]
    func config(_ own: Int) -> String {
        """
        [exporter]
        scrape_expose_endpoint = "127.0.0.1:\(ports[own])"
        tls = "off"

        """ + Configurations.receivers() + Configurations.poll("http://127.0.0.1:\(ports[1 - own])/metrics")
    }
    try await withProxy(config(0)) { first in
        try await withProxy(config(1)) { second in
            #expect(try await pushOverUnixSocket(#"{"one": "one 1"}"#, to: first) == "")
            #expect(try await pushOverUnixSocket(#"{"two": "two 2"}"#, to: second) == "")
            // The first poll that succeeds makes the other proxy's polls fail.
            try await wait(for: "a poll that fails") {
                let apps = [try await apps(of: first), try await apps(of: second)]
                return apps.contains { $0.contains("the answer contains this proxy's own metrics") }
            }
            for proxy in [first, second] { try await wait(for: "five rounds") { try await polls(of: proxy) >= 5 } }
            for proxy in [first, second] {
                // An answer that contained the answer before it would have each line several times by now.
                let lines = try await curl("http://\(proxy.scrape)/metrics").body.split(separator: "\n")
                let own = proxy.scrape == first.scrape ? "one 1" : "two 2"
                #expect(lines.count { $0 == own } == 1, "\(lines)")
                for line in ["one 1", "two 2"] { #expect(lines.count { $0 == line } <= 1, "\(lines)") }
                // The other proxy's own metrics would hide this one's from Prometheus.
                #expect(lines.count { $0.hasPrefix("exporter_proxy_build_info") } == 1, "\(lines)")
            }
        }
    }
}

private func apps(of proxy: ProxyProcess) async throws -> String { try await curl("http://\(proxy.scrape)/apps?format=json").body }

private func polls(of proxy: ProxyProcess) async throws -> Int {
    let metrics = try await curl("http://\(proxy.scrape)/metrics/self").body
    let counts = metrics.split(separator: "\n").filter { $0.hasPrefix("exporter_proxy_polls_total{") }
    return counts.compactMap { $0.split(separator: " ").last.flatMap { Int($0) } }.reduce(0, +)
}
