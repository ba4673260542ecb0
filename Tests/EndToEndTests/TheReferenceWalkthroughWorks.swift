import Foundation
import TestSupport
import Testing

@Test(
    "the original program's configuration and the shipped one take the samples as the clients' README sends them",
    .enabled("a network of its own") { await PrivateMachine.isThere() },
    arguments: ["original", "shipped"])
func theJSONWalkthroughWorks(which: String) async throws {
    try await withTemporaryFolder { folder in
        try await layOut(which, in: folder)
        let result = try await PrivateMachine.run(
            """
            start config.toml
            cat $checkout/clients/json_array.json | nc -U /var/run/exporter-proxy-receiver.sock -q 0
            cat $checkout/clients/json_string.json | nc -s 127.0.0.1 127.0.0.1 6554 -q 0
            until [ "$(curl localhost:6555/metrics | grep -c '^foo_bar_app[01]_http_requests_total')" = 4 ]; do sleep 0.05; done
            curl localhost:6555/apps
            if [ -e certs/ca.pem ]; then curl --cacert certs/ca.pem https://localhost:6555/metrics; fi
            kill -TERM $proxy
            wait $proxy
            [ ! -e /var/run/exporter-proxy-receiver.sock ]
            """, folder: folder)
        #expect(result.succeeded, "\(result.errors)\(result.output)")
        let rows = tableRows(result.output)
        #expect(rows["foo_bar_app0_metrics"] == "127.0.0.1:6554")
        #expect(rows["foo_bar_app1_metrics"] == "/var/run/exporter-proxy-receiver.sock")
        #expect(result.output.contains(#"foo_bar_app0_queue_length 12"#) == (which == "shipped"))
    }
}

@Test(
    "with format = \"capnp\" the Python clients work as they are",
    .enabled("a network of its own") { await PrivateMachine.isThere() },
    arguments: ["original", "shipped"])
func theCapnpWalkthroughWorks(which: String) async throws {
    try await withTemporaryFolder { folder in
        try await layOut(which, in: folder)
        let result = try await PrivateMachine.run(
            """
            sed -i 's/^format = "json"/format = "capnp"/' config.toml
            start config.toml
            $checkout/clients/.venv/bin/python -B $checkout/clients/test_send_tcp_socket_capnp.py
            $checkout/clients/.venv/bin/python -B $checkout/clients/test_send_unix_socket_capnp.py
            curl localhost:6555/apps
            """, folder: folder)
        #expect(result.succeeded, "\(result.errors)\(result.output)")
        let rows = tableRows(result.output)
        #expect(rows["foo_bar_app2_metrics"] == "127.0.0.1:6554")
        #expect(rows["foo_bar_app3_metrics"] == "/var/run/exporter-proxy-receiver.sock")
    }
}

@Test(
    "with polling switched on the three pages are polled",
    .enabled("a network of its own") { await PrivateMachine.isThere() },
    arguments: ["original", "shipped"])
func thePollWalkthroughWorks(which: String) async throws {
    try await withTemporaryFolder { folder in
        try await layOut(which, in: folder)
        let result = try await PrivateMachine.run(
            """
            sed -i 's/^poll_other_scrape_endpoints = false/poll_other_scrape_endpoints = true/' config.toml
            for port in 1025 1026 1027; do
                (cd $checkout/clients && exec \(Tools.python) -m http.server $port >/dev/null 2>&1) &
                until curl --output /dev/null localhost:$port/$port.html 2>/dev/null; do sleep 0.05; done
            done
            start config.toml
            until [ "$(curl localhost:6555/metrics | grep -c '^foo_bar_page102[567]_visitors')" = 3 ]; do sleep 0.05; done
            curl localhost:6555/apps
            """, folder: folder)
        #expect(result.succeeded, "\(result.errors)\(result.output)")
        let rows = tableRows(result.output)
        for port in 1025...1027 {
            #expect(rows["external_poll: 127.0.0.1:\(port)"] == "external_poll: 127.0.0.1:\(port)", "\(result.output)")
        }
    }
}

/// Puts the configuration, and for the shipped one the certificates that it names, into the folder.
private func layOut(_ which: String, in folder: TemporaryFolder) async throws {
    let shipped = which == "shipped"
    let file = shipped ? "config.toml" : "Tests/ProxyTests/Config/Fixtures/original.good.toml"
    try folder.write("config.toml", [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(checkout)/\(file)"))))
    if shipped { try await ProxyProcess.makeCertificates(in: folder) }
}

/// The sources in `/apps`, by app name.
private func tableRows(_ text: String) -> [String: String] {
    var rows: [String: String] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("| | ") {
        let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
        if let name = cells.first, let source = cells.last, cells.count == 3 { rows[name] = source }
    }
    return rows
}
