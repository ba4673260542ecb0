import Foundation
import TestSupport
import Testing

/// Below 8 KiB pycapnp writes one segment, above it two with a far pointer between them.
@Test("pycapnp pushes over TCP and the Unix socket, in one segment and in two", arguments: [10, 2_000])
func pycapnpPushesOverBothSockets(lines: Int) async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers(format: "capnp")) { proxy in
        let metrics = (0..<lines).map { "pushed_total{line=\"\($0)\"} \($0)\n" }.joined()
        let file = try proxy.folder.write("metrics.txt", metrics)
        let overTCP = try await pycapnp(
            "test_send_tcp_socket_capnp.py", ["--address", "127.0.0.1:\(proxy.tcpPort)", "--app", "tcp", "--file", file])
        #expect(overTCP.succeeded, "\(overTCP.errors)")
        let overUnix = try await pycapnp(
            "test_send_unix_socket_capnp.py", ["--path", proxy.unixSocket ?? "", "--app", "unix", "--file", file])
        #expect(overUnix.succeeded, "\(overUnix.errors)")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=tcp").body == metrics)
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=unix").body == metrics)
    }
}

@Test("pycapnp sends many messages on one connection, and the last one counts")
func pycapnpSendsManyMessages() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers(format: "capnp")) { proxy in
        let sent = try await pycapnp("test_send_unix_socket_capnp.py", ["--path", proxy.unixSocket ?? "", "--repeat", "500"])
        #expect(sent.succeeded, "\(sent.errors)")
        let answer = try await curl("http://\(proxy.scrape)/metrics?app=foo_bar_app3_metrics")
        #expect(answer.body.hasPrefix("# HELP foo_bar_app3_http_requests_total "))
    }
}

@Test("a receiver for JSON says so to pycapnp")
func aJSONReceiverSaysSoToPycapnp() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        let sent = try await pycapnp("test_send_unix_socket_capnp.py", ["--path", proxy.unixSocket ?? ""])
        #expect(sent.status == .exited(1))
        #expect(sent.errors.hasPrefix("error: "), "\(sent.errors)")
        #expect(sent.errors.lowercased().contains("json"), "\(sent.errors)")
    }
}

@Test("pycapnp pushes over TLS; a refusal comes through TLS too")
func pycapnpPushesOverTLS() async throws {
    let tls = """
        tls = "required"
        [receiver.tls_server_config]
        cert_file = "certs/server.pem"
        key_file = "certs/server-key.pem"
        """
    try await withProxy(Configurations.scrape + Configurations.receivers(format: "capnp", tls), certificates: true) { proxy in
        let arguments = ["--tls", "--address", "localhost:\(proxy.tcpPort)", "--ca-file", proxy.caFile]
        let sent = try await pycapnp("test_send_tcp_socket_capnp.py", arguments + ["--app", "secured"])
        #expect(sent.succeeded, "\(sent.errors)")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=secured").status == 200)
        let refused = try await pycapnp("test_send_tcp_socket_capnp.py", arguments + ["--app", ""])
        #expect(refused.status == .exited(1))
        #expect(refused.errors.hasPrefix("error: "), "\(refused.errors)")
        // Without TLS nothing gets in.
        let plain = try await pycapnp("test_send_tcp_socket_capnp.py", ["--address", "127.0.0.1:\(proxy.tcpPort)", "--app", "plain"])
        _ = plain
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=plain").status == 404)
    }
}

@Test("without a proxy, or without a file that they need, the scripts for pycapnp say so in one line")
func pycapnpScriptsSayWhatIsMissing() async throws {
    try await withTemporaryFolder { folder in
        let (missing, latin1) = (folder.path("missing"), folder.path("latin1"))
        try Data([0x61, 0x20, 0xE9]).write(to: URL(fileURLWithPath: latin1))
        let (tcp, unix) = ("test_send_tcp_socket_capnp.py", "test_send_unix_socket_capnp.py")
        let notRead = "error: cannot read \(missing): No such file or directory\n"
        let cases: [(script: String, arguments: [String], errors: String)] = [
            (tcp, ["--address", "127.0.0.1:1"], "error: cannot push to 127.0.0.1 port 1: Connection refused\n"),
            (tcp, ["--address", "127.0.0.1:1", "--tls", "--ca-file", missing], notRead),
            (tcp, ["--address", "127.0.0.1:1", "--file", missing], notRead),
            (unix, ["--path", missing], "error: cannot push to \(missing): No such file or directory\n"),
            (
                unix, ["--path", missing, "--file", latin1],
                "error: cannot read \(latin1): 'utf-8' codec can't decode byte 0xe9 in position 2: unexpected end of data\n"
            ),
        ]
        for (script, arguments, errors) in cases {
            let result = try await pycapnp(script, arguments)
            #expect(result.status == .exited(1) && result.errors == errors, "\(result.errors)")
        }
        let usage = try await pycapnp(tcp, ["--address", "6554"])
        #expect(usage.status == .exited(2) && usage.errors.hasSuffix("argument --address: 6554 is not HOST:PORT\n"), "\(usage.errors)")
    }
}

private func pycapnp(_ script: String, _ arguments: [String]) async throws -> ProgramResult {
    // No __pycache__ in the checkout.
    try await run(Tools.clientsPython, ["-B", "\(checkout)/clients/\(script)"] + arguments)
}
