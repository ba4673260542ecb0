import TestSupport
import Testing

@Test("the JSON samples pushed with nc, as the clients' README says, are listed and exposed")
func ncPushesJSONOverTCPAndUnixSocket() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        // -q 0 leaves without waiting: nothing tells it when the metrics are there.
        _ = try await pushOverUnixSocket(client("json_array.json"), to: proxy, .leaving)
        _ = try await pushOverTCP(client("json_string.json"), to: proxy, .leaving)
        let metrics = try await wait(for: "both apps in /metrics") {
            let body = try await curl("http://\(proxy.scrape)/metrics").body
            return body.contains("app0") && body.contains("app1") ? body : nil
        }
        let lines = metrics.split(separator: "\n")
        #expect(lines.contains(#"foo_bar_app0_http_requests_total{method="post",code="200"} 1027"#))
        #expect(lines.contains(#"foo_bar_app1_request_duration_seconds_bucket{le="+Inf"} 1030"#))

        let table = try await curl("http://\(proxy.scrape)/apps").body
        let rows = table.split(separator: "\n").map { $0.split(separator: "|").map { $0.filter { $0 != " " } }.filter { !$0.isEmpty } }
        #expect(rows.contains { $0.first == "foo_bar_app0_metrics" && $0.last == "127.0.0.1:\(proxy.tcpPort)" }, "\(table)")
        #expect(rows.contains { $0.first == "foo_bar_app1_metrics" && $0.last?.hasSuffix("receiver.sock") == true }, "\(table)")
    }
}
