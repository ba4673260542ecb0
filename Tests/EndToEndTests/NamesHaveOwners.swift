import Foundation
import TestSupport
import Testing

/// `openesame` and `other`, at bcrypt's lowest cost.
private let users = """
    [receiver.basic_auth_users]
    prom = "$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"
    "other user" = "$2b$04$zyxwvutsrqponmlkjihgfeoEG75ieRiMxivbt62jo80oWmRUDHZ.e"

    """

@Test("basic auth guards the HTTP receiver but for its health checks, and users change live")
func basicAuthGuardsTheReceiver() async throws {
    let open = Configurations.scrape + Configurations.httpReceiver()
    try await withProxy(open + users) { proxy in
        func push(_ options: [String], to path: String = "/apps/a") async throws -> HTTPAnswer {
            try await curl("http://\(proxy.pushes)\(path)", ["-X", "PUT", "-d", "a 1"] + options)
        }
        for options in [[], ["--user", "prom:other"], ["--user", "nobody:openesame"]] {
            for path in ["/apps/a", "/metrics/job/a", "/nothing"] {
                let refused = try await push(options, to: path)
                #expect(refused.status == 401)
                #expect(refused.headers["www-authenticate"] == "Basic realm=\"exporter-proxy\", charset=\"UTF-8\"")
                #expect(refused.body.hasPrefix("error: unauthorized") && refused.body.count { $0 == "\n" } == 1)
            }
        }
        #expect(try await curl("http://\(proxy.pushes)/").status == 401)
        for path in ["/-/healthy", "/-/ready"] { #expect(try await curl("http://\(proxy.pushes)\(path)").status == 200) }
        // The scrape side has users of its own.
        #expect(try await curl("http://\(proxy.scrape)/apps").status == 200)
        #expect(try await push(["--user", "prom:openesame"]).status == 204)
        #expect(try await push(["--user", "prom:openesame"], to: "/metrics/job/a").status == 200)
        let app = try await curl("http://\(proxy.scrape)/apps/a").body
        #expect(app.contains(#/sender:      127\.0\.0\.1:[0-9]+, basic auth user prom\n/#), "\(app)")
        #expect(!proxy.log.contains("openesame") && !proxy.log.contains("$2"))
        // A connection made under the old users ends after its exchange.
        let kept = try RawConnection(to: proxy.pushes)
        #expect(try await kept.get("/-/healthy").status == 200)
        try await proxy.save(open)
        #expect(try await kept.receiveToEnd() == "")
        #expect(try await push([]).status == 204)
    }
}

@Test("an app is pushed and deleted by its owner alone, over HTTP and with a client certificate; other apps are anyone's")
func ownersOverHTTP() async throws {
    let config =
        Configurations.scrape
        + Configurations.httpReceiver("receive_on_tcp_socket = true\nreceiver_tcp_socket = \"127.0.0.1:0\"\ntls = \"required\"") + """
            [receiver.tls_server_config]
            cert_file = "certs/server.pem"
            key_file = "certs/server-key.pem"
            client_auth_type = "VerifyClientCertIfGiven"
            client_ca_file = "certs/ca.pem"
            \(users)
            [[receiver.owners]]
            apps = ["backup*", "job/backup*"]
            basic_auth_users = ["prom"]
            [[receiver.owners]]
            apps = ["secured"]
            client_sans = ["exporter-proxy-client"]
            [[receiver.owners]]
            apps = ["closed"]

            """
    try await withProxy(config, certificates: true) { proxy in
        let port = proxy.pushes.split(separator: ":").last ?? ""
        let prom = ["--user", "prom:openesame"]
        let other = ["--user", "other user:other"]
        let certificate = ["--cert", proxy.folder.path("certs/client.pem"), "--key", proxy.folder.path("certs/client-key.pem")]
        func send(_ method: String, _ path: String, _ options: [String], _ body: String = "a 1") async throws -> HTTPAnswer {
            try await curl(
                "https://localhost:\(port)\(path)", ["-X", method, "-d", body, "--cacert", proxy.caFile, "--ipv4"] + options)
        }
        #expect(try await send("PUT", "/apps/backup_1", prom).status == 204)
        let refused = try await send("PUT", "/apps/backup_1", other)
        #expect(refused.status == 403)
        #expect(refused.body.hasPrefix("error: app backup_1 belongs to basic auth user prom"))
        try await wait(for: "the line in the log") {
            proxy.log.contains(#/message refused.* peer="127\.0\.0\.1:[0-9]+, basic auth user other user" reason=not_owner/#)
        }
        #expect(try await send("POST", "/apps", other, #"{"free": "x 1", "backup": "a 1"}"#).status == 403)
        #expect(try await send("DELETE", "/apps/backup_1", other).status == 403)
        #expect(try await send("PUT", "/metrics/job/backup/x/y", other).status == 403)
        #expect(try await send("DELETE", "/metrics/job/backup", other).status == 403)
        #expect(try await send("PUT", "/metrics/job/backup/x/y", prom).status == 200)
        #expect(try await send("PUT", "/apps/free", other).status == 204)
        #expect(try await send("PUT", "/apps/secured", prom).status == 403)
        #expect(try await send("PUT", "/apps/secured", prom + certificate).status == 204)
        #expect(try await send("PUT", "/apps/closed", prom + certificate).status == 403)
        #expect(
            try await curl("http://\(proxy.scrape)/apps/secured").body.contains(
                ", client certificate exporter-proxy-client, basic auth user prom\n"))
        // The TCP receiver tells the same client by its certificate.
        let push = [
            "push", "--app", "secured", "--to", "tls://\(proxy.tcpAddress ?? "")", "--server-name", "localhost", "--ca-file", proxy.caFile,
        ]
        try proxy.folder.write("metrics", "a 2\n")
        let without = try await run(ProxyProcess.executable, push + [proxy.folder.path("metrics")])
        #expect(without.status == .exited(1) && without.errors.contains("app secured belongs to client certificate exporter-proxy-client"))
        let with = try await run(
            ProxyProcess.executable,
            push + [
                "--cert-file", proxy.folder.path("certs/client.pem"), "--key-file", proxy.folder.path("certs/client-key.pem"),
                proxy.folder.path("metrics"),
            ])
        #expect(with.succeeded, "\(with.errors)")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=secured").body == "a 2\n")
        #expect(try await send("DELETE", "/apps/backup_1", prom).status == 204)
        try await wait(for: "the line in the log") { proxy.log.contains("basic auth user prom\" request=\"DELETE /apps/backup_1\"") }
        let text = try await curl("http://\(proxy.scrape)/metrics/self").body
        #expect(text.contains(#/rejected_messages_total\{listener="127.0.0.1:[0-9]+",reason="not_owner"\} 7\n/#))
    }
}

@Test("on a kept connection each request is that of its own user")
func ownersOnAKeptConnection() async throws {
    let rule = "[[receiver.owners]]\napps = [\"mine\"]\nbasic_auth_users = [\"prom\"]\n"
    try await withProxy(Configurations.scrape + Configurations.httpReceiver() + users + rule) { proxy in
        let kept = try RawConnection(to: proxy.pushes)
        func put(_ credentials: String) async throws -> Int {
            let field = "Authorization: Basic \(Data(credentials.utf8).base64EncodedString())"
            try kept.send("PUT /apps/mine HTTP/1.1\r\nHost: localhost\r\n\(field)\r\nContent-Length: 3\r\n\r\na 1")
            return try await kept.response().status
        }
        #expect(try await put("prom:openesame") == 204)
        #expect(try await put("other user:other") == 403)
        #expect(try await put("prom:openesame") == 204)
    }
}

@Test("on a Unix socket the kernel says whose process pushes; new rules hold for the next message of an open connection")
func ownersOnAUnixSocket() async throws {
    func config(_ rule: String) -> String {
        Configurations.scrape + Configurations.receivers() + "[[receiver.owners]]\napps = [\"mine\"]\n\(rule)\n"
    }
    let (user, group) = (getuid(), getgid())
    try await withProxy(config("users = [\(user)]")) { proxy in
        let kept = try RawConnection(to: proxy.unixSocket ?? "")
        try kept.send(#"{"mine": "a 1"}"#)
        try await wait(for: "the push") { try await curl("http://\(proxy.scrape)/metrics?app=mine").body == "a 1\n" }
        #expect(try await curl("http://\(proxy.scrape)/apps/mine").body.contains(" of user \(user)\n"))
        // Over TCP nothing vouches for the user.
        let overTCP = try await pushOverTCP(Array(#"{"mine": "a 2", "other": "b 1"}"#.utf8), to: proxy)
        #expect(overTCP.hasPrefix("error: app mine belongs to user \(user)"))
        #expect(try await pushOverTCP(Array(#"{"other": "b 1"}"#.utf8), to: proxy) == "")
        try await proxy.save(config("groups = [\"\(group)\"]"))
        try kept.send(#"{"mine": "a 3"}"#)
        try await wait(for: "the push of the group") { try await curl("http://\(proxy.scrape)/metrics?app=mine").body == "a 3\n" }
        try await proxy.save(config("users = [\(user + 1)]"))
        try kept.send(#"{"mine": "a 4"}"#)
        #expect(try await kept.receiveToEnd().hasPrefix("error: app mine belongs to user \(user + 1)"))
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=mine").body == "a 3\n")
        // Supplementary groups count, where this test may have some.
        guard user == 0 else { return }
        try await proxy.save(config("groups = [4711]"))
        let script = #"printf '{"mine": "a 5"}' | "# + "\(Tools.netcat) -N -U \(proxy.unixSocket ?? "")"
        #expect(try await run("setpriv", ["--groups", "4711,4712", "sh", "-c", script]).output == "")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=mine").body == "a 5\n")
        #expect(
            try await run("setpriv", ["--groups", "4712", "sh", "-c", script]).output.hasPrefix("error: app mine belongs to group 4711"))
    }
}

@Test("check names every account that the system does not know, and warns of a rule that no receiver can satisfy")
func ownersAreChecked() async throws {
    try await withTemporaryFolder { folder in
        try folder.write(
            "config.toml",
            Configurations.scrape + """
                [receiver]
                receive_on_unix_socket = true
                receiver_unix_socket = "r.sock"
                [[receiver.owners]]
                apps = ["a"]
                users = ["root", "no-such-user"]
                groups = ["no-such-group"]
                [[receiver.owners]]
                apps = ["b"]
                client_sans = ["b.example"]
                """)
        let checked = try await run(ProxyProcess.executable, ["check", "--config", "config.toml"], workingFolder: folder.path)
        #expect(checked.status == .exited(1))
        #expect(
            checked.errors.contains("config.toml:9:18: error: receiver.owners[0].users[1]: unknown user no-such-user\n"),
            "\(checked.errors)")
        #expect(checked.errors.contains("config.toml:10:11: error: receiver.owners[0].groups[0]: unknown group no-such-group\n"))
        let warning = "warning: receiver.owners[1]: no configured receiver can identify these peers"
        #expect(checked.errors.contains(warning), "\(checked.errors)")
    }
}
