import Foundation
import TestSupport
import Testing

private func push(
    _ arguments: String..., to address: String, app: String = "app", input: String? = nil, in folder: TemporaryFolder
) async throws -> ProgramResult {
    try await run(
        ProxyProcess.executable, ["push", "--app", app, "--to", address] + arguments, input: input.map { Array($0.utf8) },
        workingFolder: folder.path)
}

extension ProxyProcess {
    fileprivate var unix: String { "unix:\(unixSocket ?? "")" }
    fileprivate var tcp: String { "tcp://127.0.0.1:\(tcpPort)" }
    fileprivate var tls: String { "tls://localhost:\(tcpPort)" }

    fileprivate func metrics(of app: String = "app") async throws -> String {
        try await curl("http://\(scrape)/metrics?app=\(app)").body
    }
}

@Suite struct PushSendsWhatScriptsHave {
    @Test(
        "push sends a file or standard input over both sockets in both formats; success is silent and means applied",
        arguments: ["json", "capnp"])
    func sendsOverBothSockets(format: String) async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers(format: format)) { proxy in
            let file = try proxy.folder.write("metrics.prom", "# HELP a \"b\\c\"\na{b=\"é\"} 1\n")
            for (app, address) in [("unix", proxy.unix), ("tcp", proxy.tcp), ("name", "tcp://localhost:\(proxy.tcpPort)")] {
                let fromFile = try await push("--format", format, "metrics.prom", to: address, app: app, in: proxy.folder)
                #expect(fromFile.succeeded && fromFile.output == "" && fromFile.errors == "", "\(fromFile.errors)")
                #expect(try await proxy.metrics(of: app) == "# HELP a \"b\\c\"\na{b=\"é\"} 1\n")
                let fromStdin = try await push("--format", format, to: address, app: app, input: "a 2\nb 3", in: proxy.folder)
                #expect(fromStdin.succeeded && fromStdin.errors == "", "\(fromStdin.errors)")
                #expect(try await proxy.metrics(of: app) == "a 2\nb 3\n")
                let fromDash = try await push("--format", format, "-", to: address, app: app, input: "a 4\n", in: proxy.folder)
                #expect(fromDash.succeeded, "\(fromDash.errors)")
                #expect(try await proxy.metrics(of: app) == "a 4\n")
            }
            // A pipe, as in <(command).
            let fifo = proxy.folder.path("fifo")
            let piped = try await run(
                "bash",
                [
                    "-c", "mkfifo '\(fifo)'; cat '\(file)' > '\(fifo)' & \"$0\" push --app pipe --to \"$1\" --format \(format) '\(fifo)'",
                    ProxyProcess.executable, proxy.unix,
                ])
            #expect(piped.succeeded, "\(piped.errors)")
            #expect(try await proxy.metrics(of: "pipe").hasPrefix("# HELP a"))
            // No metrics leave the app listed.
            #expect(try await push("--format", format, to: proxy.unix, app: "empty", input: "", in: proxy.folder).succeeded)
            #expect(try await curl("http://\(proxy.scrape)/apps").body.contains("| empty "))
        }
    }

    @Test("push sends over HTTP, in TLS with a certificate and a password too")
    func sendsOverHTTP() async throws {
        let name = "a b/ü%?#"
        try await withProxy(Configurations.scrape + Configurations.httpReceiver("max_message_size = \"64MiB\"")) { proxy in
            let address = "http://\(proxy.pushes)"
            let small = try await push(to: address, app: name, input: "a{b=\"é\"} 2\nb 3", in: proxy.folder)
            #expect(small.succeeded && small.output == "" && small.errors == "", "\(small.errors)")
            let apps = try await curl("http://\(proxy.scrape)/apps").body
            #expect(apps.contains("| \(name) "), "\(apps)")
            let metrics = String(repeating: "large_metric_total 123456\n", count: 500_000)
            try proxy.folder.write("large.prom", metrics)
            let large = try await push("--timeout", "10m", "large.prom", to: address + "/", in: proxy.folder)
            #expect(large.succeeded, "\(large.errors)")
            #expect(try await proxy.metrics() == metrics)
            // Over another protocol, or to the wrong listener.
            let plain = try await push(to: "tcp://\(proxy.pushes)", input: "a 1\n", in: proxy.folder)
            #expect(plain.status == .exited(1) && plain.errors.contains("write http://"), "\(plain.errors)")
            let scrape = try await push(to: "http://\(proxy.scrape)", input: "a 1\n", in: proxy.folder)
            #expect(scrape.status == .exited(1) && scrape.errors.contains("it answered 405 Method Not Allowed"), "\(scrape.errors)")
            #expect(scrape.errors.contains("as a scrape address does: give the address of receiver_http_socket"), "\(scrape.errors)")
        }
        let users = "[receiver.basic_auth_users]\nprom = \"$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O\"\n"
        let tls = """
            tls = "required"
            max_message_size = 20
            [receiver.tls_server_config]
            cert_file = "certs/server.pem"
            key_file = "certs/server-key.pem"
            client_auth_type = "RequireAndVerifyClientCert"
            client_ca_file = "certs/ca.pem"
            \(users)
            """
        try await withProxy(Configurations.scrape + Configurations.httpReceiver(tls), certificates: true) { proxy in
            try proxy.folder.write("password", "openesame\n")
            let address = "https://localhost:\(proxy.pushes.split(separator: ":").last ?? "")"
            let certificate = ["--ca-file", "certs/ca.pem", "--cert-file", "certs/client.pem", "--key-file", "certs/client-key.pem"]
            func send(_ arguments: [String], _ input: String) async throws -> ProgramResult {
                try await run(
                    ProxyProcess.executable, ["push", "--app", "app", "--to", address] + arguments, input: Array(input.utf8),
                    workingFolder: proxy.folder.path)
            }
            let user = ["--user", "prom", "--password-file", "password"]
            let sent = try await send(certificate + user, "a 1\n")
            #expect(sent.succeeded, "\(sent.errors)")
            #expect(try await proxy.metrics() == "a 1\n")
            let refused = try await send(certificate, "a 2\n")
            #expect(refused.status == .exited(1) && refused.errors.hasPrefix("error: unauthorized"), "\(refused.errors)")
            let tooLarge = try await send(certificate + user, String(repeating: "a 1\n", count: 100_000))
            #expect(tooLarge.errors.hasPrefix("error: message is larger than max_message_size"), "\(tooLarge.errors)")
            #expect(try await send(user + ["--ca-file", "certs/ca.pem"], "a 1\n").status == .exited(1))
        }
    }

    @Test("push sends over IPv6")
    func sendsOverIPv6() async throws {
        let receivers = Configurations.receivers().replacing("127.0.0.1:0", with: "[::1]:0")
        try await withProxy(Configurations.scrape + receivers) { proxy in
            let result = try await push(to: "tcp://[::1]:\(proxy.tcpPort)", input: "a 1\n", in: proxy.folder)
            #expect(result.succeeded, "\(result.errors)")
            #expect(try await proxy.metrics() == "a 1\n")
        }
    }

    @Test("push sends large inputs", arguments: ["json", "capnp"])
    func sendsLargeInputs(format: String) async throws {
        // A sanitizer slows the reading down to minutes.
        let limits = "max_message_size = \"64MiB\"\nmessage_timeout = \"10m\""
        try await withProxy(Configurations.scrape + Configurations.receivers(format: format, limits)) { proxy in
            let line = "large_metric_total{path=\"/some/path\",method=\"GET\"} 123456\n"
            let metrics = String(repeating: line, count: 12_000_000 / line.utf8.count)
            try proxy.folder.write("large.prom", metrics)
            for address in [proxy.unix, proxy.tcp] {
                let result = try await push("--format", format, "--timeout", "10m", "large.prom", to: address, in: proxy.folder)
                #expect(result.succeeded, "\(result.errors)")
                #expect(try await proxy.metrics() == metrics)
                #expect(try await push("--format", format, to: address, input: "a 1\n", in: proxy.folder).succeeded)
            }
        }
    }

    @Test("push speaks TLS, with the authority, the name and the client certificate that it is given")
    func speaksTLS() async throws {
        let tls =
            "tls = \"required\"\n[receiver.tls_server_config]\ncert_file = \"certs/server.pem\"\nkey_file = \"certs/server-key.pem\"\n"
        // A sanitizer slows the reading down to minutes.
        let receivers = Configurations.receivers("message_timeout = \"10m\"")
        try await withProxy(Configurations.scrape + receivers + tls, certificates: true) { proxy in
            let trusting = try await push("--ca-file", "certs/ca.pem", to: proxy.tls, input: "a 1\n", in: proxy.folder)
            #expect(trusting.succeeded && trusting.errors == "", "\(trusting.errors)")
            #expect(try await proxy.metrics() == "a 1\n")
            let withCertificate = try await push(
                "--ca-file", "certs/ca.pem", "--cert-file", "certs/client.pem", "--key-file", "certs/client-key.pem", to: proxy.tls,
                input: "a 2\n", in: proxy.folder)
            #expect(withCertificate.succeeded, "\(withCertificate.errors)")
            #expect(try await proxy.metrics() == "a 2\n")
            let large = String(repeating: "large_metric_total{path=\"/some/path\"} 123456\n", count: 60_000)
            let long = try await push("--ca-file", "certs/ca.pem", "--timeout", "10m", to: proxy.tls, input: large, in: proxy.folder)
            #expect(long.succeeded, "\(long.errors)")
            #expect(try await proxy.metrics() == large)

            // Nothing of these is sent.
            let system = try await push(to: proxy.tls, input: "a 3\n", in: proxy.folder)
            #expect(system.status == .exited(1) && system.errors.contains("the peer's certificate is not trusted"), "\(system.errors)")
            let otherName = try await push(
                "--ca-file", "certs/ca.pem", "--server-name", "other.example.org", to: proxy.tls, input: "a 3\n", in: proxy.folder)
            #expect(otherName.status == .exited(1) && otherName.errors.contains("certificate is not trusted"), "\(otherName.errors)")
            let plain = try await push(to: proxy.tcp, input: "a 3\n", in: proxy.folder)
            #expect(plain.status == .exited(1) && plain.errors.hasPrefix("error: this receiver requires TLS"), "\(plain.errors)")
            #expect(try await pushOverTCP(Array("{\"app\": \"a 3\"}".utf8), to: proxy).hasPrefix("error: this receiver requires TLS"))
            #expect(try await proxy.metrics() == large)
            let refused = try await push("--ca-file", "certs/ca.pem", "--format", "capnp", to: proxy.tls, input: "a 3\n", in: proxy.folder)
            #expect(refused.status == .exited(1) && refused.errors.contains("this receiver takes JSON"), "\(refused.errors)")
        }
        // The other way round: TLS to a receiver without it.
        try await withProxy(Configurations.scrape + Configurations.receivers(), certificates: true) { proxy in
            let result = try await push("--ca-file", "certs/ca.pem", to: proxy.tls, input: "a 1\n", in: proxy.folder)
            #expect(
                result.status == .exited(1) && result.errors.contains("if this receiver takes no TLS, write tcp://"), "\(result.errors)")
        }
    }

    @Test("a refused push exits 1 with the proxy's own reason, and the old metrics stay")
    func refusedPushes() async throws {
        try await withProxy(
            Configurations.scrape
                + Configurations.receivers(format: "json", "max_apps = 1\nmax_message_size = \"100KiB\"\nmax_total_size = \"50KiB\"")
        ) { proxy in
            #expect(try await push(to: proxy.unix, input: "a 1\n", in: proxy.folder).succeeded)
            for address in [proxy.unix, proxy.tcp] {
                let capnp = try await push("--format", "capnp", to: address, input: "a 2\n", in: proxy.folder)
                #expect(capnp.status == .exited(1))
                #expect(
                    capnp.errors
                        == "error: these bytes look like Cap'n Proto, but this receiver takes JSON (format = \"json\"): send JSON objects, or change the format\n"
                )
                let second = try await push(to: address, app: "second", input: "a 2\n", in: proxy.folder)
                #expect(second.status == .exited(1) && second.errors.contains("max_apps"), "\(second.errors)")
                let full = try await push(to: address, input: String(repeating: "a 2\n", count: 15_000), in: proxy.folder)
                #expect(full.status == .exited(1) && full.errors.contains("max_total_size"), "\(full.errors)")
                // Refused long before all is sent: the reason is read although the write fails.
                let large = try await push(to: address, input: String(repeating: "a 2\n", count: 5_000_000), in: proxy.folder)
                #expect(large.status == .exited(1))
                let reason = "message is larger than max_message_size (102400 bytes): send smaller messages, or raise max_message_size"
                #expect(large.errors == "error: \(reason)\n")
                #expect(large.output == "")
            }
            #expect(try await proxy.metrics() == "a 1\n")
        }
    }

    @Test(
        "text that no receiver takes is found before anything is sent",
        arguments: [("a 1\nb \0\n", "standard input: line 2 holds a NUL byte")])
    func faultyText(input: String, reason: String) async throws {
        try await withTemporaryFolder { folder in
            // No socket listens there, so the fault must have been found before.
            let nul = try await push(to: "unix:none.sock", input: input, in: folder)
            #expect(nul.status == .exited(1) && nul.errors.contains(reason), "\(nul.errors)")
            try folder.write("latin1.prom", [0x61, 0x20, 0x31, 0x0A, 0xE9, 0x0A])
            let latin1 = try await push("latin1.prom", to: "unix:none.sock", in: folder)
            #expect(latin1.status == .exited(1) && latin1.errors == "error: latin1.prom: line 2 is not valid UTF-8\n", "\(latin1.errors)")
        }
    }

    @Test("metrics that Prometheus would not read are not sent, with what is wrong; --no-check sends them")
    func invalidMetrics() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers() + "[metrics]\nvalidate = \"off\"\n") { proxy in
            let text = "a 1\nbackup_seconds 12,5\n"
            let refused = try await push(to: proxy.unix, input: text, in: proxy.folder)
            #expect(refused.status == .exited(1))
            #expect(
                refused.errors == """
                    stdin:2:16: error: value "12,5" is not a number: write a decimal point, not a comma
                    error: not sent: Prometheus would not read these metrics; --no-check sends them nevertheless

                    """)
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=app").status == 404)
            #expect(try await push("--no-check", to: proxy.unix, input: text, in: proxy.folder).succeeded)
            #expect(try await proxy.metrics() == text)
            // What only strict readers refuse is sent, in silence.
            let odd = try await push(to: proxy.unix, input: "a 1\na 2", in: proxy.folder)
            #expect(odd.succeeded && odd.errors == "")
        }
    }

    @Test("what stands in the way is told in one line, with exit code 1")
    func obstacles() async throws {
        try await withTemporaryFolder { folder in
            try await ProxyProcess.makeCertificates(in: folder)
            func failure(_ arguments: [String], to address: String) async throws -> String {
                let result = try await run(
                    ProxyProcess.executable, ["push", "--app", "app", "--to", address] + arguments, workingFolder: folder.path)
                #expect(result.status == .exited(1), "\(address): \(result.errors)")
                #expect(result.errors.hasPrefix("error: ") && result.errors.split(separator: "\n").count == 1, "\(result.errors)")
                return result.errors
            }
            let port = try reservePort()
            #expect(try await failure([], to: "tcp://127.0.0.1:\(port)").contains("tcp://127.0.0.1:\(port): connection refused"))
            #expect(try await failure([], to: "tcp://localhost:\(port)").contains("connection refused"))
            #expect(try await failure([], to: "tcp://no-such-host.invalid:1").contains("cannot look up no-such-host.invalid"))
            for arguments: [String] in [[], ["--retry-for", "0s"], ["--retry-for", "0"]] {
                #expect(try await failure(arguments, to: "unix:none.sock").hasSuffix("no such file or directory\n"))
            }
            #expect(try await failure([], to: "unix:/\(String(repeating: "x", count: 200))").contains("too long"))
            #expect(try await failure(["none.prom"], to: "unix:none.sock").contains("cannot read none.prom: no such file or directory"))
            #expect(try await failure(["certs"], to: "unix:none.sock").contains("cannot read certs: is a directory"))
            let tls = "tls://127.0.0.1:\(port)"
            #expect(try await failure(["--ca-file", "none.pem"], to: tls).contains("cannot read none.pem: no such file"))
            #expect(
                try await failure(["--ca-file", "certs/server-key.pem"], to: tls).contains("certs/server-key.pem: the trusted certificate"))
            let foreign = ["--cert-file", "certs/client.pem", "--key-file", "certs/server-key.pem"]
            #expect(
                try await failure(foreign, to: tls).contains("certs/server-key.pem: the private key does not belong to the certificate"))
        }
    }

    @Test("a receiver that never answers is left after --timeout")
    func timeout() async throws {
        let script = """
            import socket, sys, time
            server = socket.create_server(("127.0.0.1", 0))
            print(server.getsockname()[1], flush=True)
            connection, _ = server.accept()
            time.sleep(600)
            """
        try await withProgram(Tools.python, ["-u", "-c", script]) { silent in
            let port = try await wait(for: "the port") {
                let text = String(decoding: silent.outputBytes, as: UTF8.self)
                return text.hasSuffix("\n") ? text.filter(\.isNumber) : nil
            }
            try await withTemporaryFolder { folder in
                let result = try await push("--timeout", "300ms", to: "tcp://127.0.0.1:\(port)", input: "a 1\n", in: folder)
                #expect(result.status == .exited(1))
                #expect(result.errors.contains("timed out after 300ms while waiting for the receiver"), "\(result.errors)")
                let handshake = try await push("--timeout", "300ms", to: "tls://127.0.0.1:\(port)", input: "a 1\n", in: folder)
                #expect(handshake.errors.contains("timed out after 300ms while waiting for the TLS handshake"), "\(handshake.errors)")
            }
        }
    }

    @Test("a scrape address is not taken for a receiver, whatever is sent there", arguments: ["json", "capnp"])
    func scrapeAddress(format: String) async throws {
        let tls = "\n[exporter.tls_server_config]\ncert_file = \"certs/server.pem\"\nkey_file = \"certs/server-key.pem\"\n"
        for (config, addresses) in [
            (Configurations.scrape, ["tcp://127.0.0.1"]), (Configurations.scrape + tls, ["tcp://127.0.0.1", "tls://localhost"]),
        ] {
            try await withProxy(config, certificates: true) { proxy in
                for address in addresses {
                    let arguments = address.hasPrefix("tls") ? ["--ca-file", "certs/ca.pem"] : []
                    // Without a newline at its end, so that no line of a request ever ends.
                    let result = try await run(
                        ProxyProcess.executable,
                        ["push", "--app", "a", "--to", "\(address):\(proxy.scrapePort)", "--format", format] + arguments,
                        input: Array("a 1".utf8), workingFolder: proxy.folder.path)
                    #expect(result.status == .exited(1), "\(address)")
                    #expect(
                        result.errors.contains("the port speaks HTTP") && result.errors.contains("receiver_tcp_socket"), "\(result.errors)")
                }
            }
        }
    }

    @Test("a server that closes at once, or cuts the connection, is not taken for a receiver", arguments: ["", "time.sleep(0.05)"])
    func closesAtOnce(pause: String) async throws {
        let script = """
            import socket, time
            server = socket.create_server(("127.0.0.1", 0))
            print(server.getsockname()[1], flush=True)
            while True:
                connection, _ = server.accept()
                \(pause)
                connection.close()
            """
        try await withProgram(Tools.python, ["-u", "-c", script]) { other in
            let port = try await wait(for: "the port") {
                let text = String(decoding: other.outputBytes, as: UTF8.self)
                return text.hasSuffix("\n") ? text.filter(\.isNumber) : nil
            }
            try await withTemporaryFolder { folder in
                // Whether the end comes before the message, after it or in between.
                for size in [1, 1, 1, 100_000, 5_000_000] {
                    let result = try await push(
                        to: "tcp://127.0.0.1:\(port)", input: String(repeating: "a 1\n", count: size), in: folder)
                    #expect(result.status == .exited(1))
                    #expect(result.errors.contains("does a receiver of exporter-proxy listen there?"), "\(result.errors)")
                }
            }
        }
    }

    @Test(
        "usage errors of push exit 64",
        arguments: [
            ["push"], ["push", "--app", "a"], ["push", "--to", "unix:/x"], ["push", "--app", "", "--to", "unix:/x"],
            ["push", "--app", "a\nb", "--to", "unix:/x"], ["push", "--app", "a", "--to", "127.0.0.1:1"],
            ["push", "--app", "a", "--to", "tcp://::1:6554"], ["push", "--app", "a", "--to", "unix:/x", "--format", "xml"],
            ["push", "--app", "a", "--to", "unix:/x", "one", "two"], ["push", "--app", "a", "--to", "unix:/x", "--ca-file", "ca.pem"],
            ["push", "--app", "a", "--to", "tcp://h:1", "--server-name", "h"],
            ["push", "--app", "a", "--to", "tls://h:1", "--cert-file", "c.pem"],
            ["push", "--app", "a", "--to", "tls://h:1", "--key-file", "c.pem"],
            ["push", "--app", "a", "--to", "http://h:1", "--format", "json"], ["push", "--app", "a", "--to", "http://h:1", "--user", "u"],
            ["push", "--app", "a", "--to", "http://h:1", "--ca-file", "c"], ["push", "--app", "a", "--to", "http://h:1/apps"],
            ["push", "--app", "a", "--to", "tcp://h:1", "--user", "u", "--password-file", "p"],
            ["push", "--app", "a", "--to", "unix:/x", "--timeout", "0"], ["push", "--app", "a", "--to", "unix:/x", "--timeout", "soon"],
        ])
    func usageErrors(arguments: [String]) async throws {
        let result = try await run(ProxyProcess.executable, arguments)
        #expect(result.status == .exited(64), "\(result.errors)")
        #expect(!result.errors.isEmpty)
    }

    @Test("pycapnp reads what push writes", arguments: [0, 10, 8_192, 3_000_000])
    func pycapnpReadsIt(size: Int) async throws {
        let script = """
            import pathlib, socket, sys
            import capnp
            schema = capnp.load(sys.argv[1])
            server = socket.create_server(("127.0.0.1", 0))
            print(server.getsockname()[1], flush=True)
            connection, _ = server.accept()
            data = b""
            while part := connection.recv(65536):
                data += part
            with schema.InboundMetrics.from_bytes(data) as message:
                pathlib.Path(sys.argv[2]).write_text(message.appName + "\\n" + message.data)
            """
        try await withTemporaryFolder { folder in
            let schema = "\(checkout)/clients/inbound_metrics.capnp"
            try await withProgram(Tools.clientsPython, ["-u", "-c", script, schema, folder.path("out")]) { reader in
                let port = try await wait(for: "the port") {
                    let text = String(decoding: reader.outputBytes, as: UTF8.self)
                    return text.hasSuffix("\n") ? text.filter(\.isNumber) : nil
                }
                let metrics = String(repeating: "é", count: size / 2)
                let result = try await push(
                    "--no-check", "--format", "capnp", to: "tcp://127.0.0.1:\(port)", app: "é app", input: metrics, in: folder)
                #expect(result.succeeded, "\(result.errors)")
                #expect(try await reader.exit().succeeded, "\(reader.errors)")
                #expect(try String(contentsOfFile: folder.path("out"), encoding: .utf8) == "é app\n" + metrics)
            }
        }
    }
}
