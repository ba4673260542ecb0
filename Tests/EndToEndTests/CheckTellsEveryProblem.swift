import Foundation
import TestSupport
import Testing

private func check(
    _ config: String, certificates: Bool = false, prepare: (TemporaryFolder) async throws -> Void = { _ in }
) async throws -> ProgramResult {
    try await runProxy(config, arguments: ["check", "-c", "config.toml"], certificates: certificates, prepare: prepare)
}

/// A shipped configuration whose addresses are free, and whose socket every user may make.
private func withFreePlaces(_ config: String) -> String {
    config.replacing(#/"[0-9.]+:[0-9]+"/#, with: "\"127.0.0.1:0\"")
        .replacing("/var/run/exporter-proxy-receiver.sock", with: "receiver.sock")
}

private func places(_ result: ProgramResult) -> [String] {
    result.errors.split(separator: "\n").map { String($0.prefix { $0 != " " }) }
}

@Test("check says OK on standard output, and nothing else")
func checkSaysOK() async throws {
    let result = try await check(Configurations.scrape(tls: "required") + Configurations.receivers(), certificates: true)
    #expect(result.succeeded, "\(result.errors)")
    #expect(result.output == "config.toml: OK\n")
    #expect(result.errors == "")
}

@Test("the shipped config.toml passes the check")
func theShippedConfigurationPasses() async throws {
    let shipped = try String(contentsOfFile: "\(checkout)/config.toml", encoding: .utf8)
    let result = try await check(withFreePlaces(shipped), certificates: true)
    #expect(result.succeeded, "\(result.errors)")
    #expect(result.errors == "")
}

@Test("the original program's configuration passes the check")
func theOriginalConfigurationPasses() async throws {
    let original = try String(contentsOfFile: "\(checkout)/Tests/ProxyTests/Config/Fixtures/original.good.toml", encoding: .utf8)
    let result = try await check(withFreePlaces(original))
    #expect(result.succeeded, "\(result.errors)")
}

@Test("an empty file passes the check: all defaults", .enabled("a network of its own") { await PrivateMachine.isThere() })
func anEmptyConfigurationPasses() async throws {
    try await withTemporaryFolder { folder in
        try folder.write("config.toml", "")
        // There the default port is free.
        let result = try await PrivateMachine.run("\"$program\" check -c config.toml", folder: folder)
        #expect(result.succeeded, "\(result.errors)")
        #expect(result.errors == "")
    }
}

@Test("check tells every problem at once, in the order of the file: keys, values, files, certificates, users")
func checkTellsEveryProblem() async throws {
    let config = """
        [exporter]
        scrape_expose_endpoint = "127.0.0.1:0"
        foo = 1
        [exporter.tls_server_config]
        cert_file = "certs/server.pem"
        key_file = "certs/client-key.pem"
        [receiver]
        receive_on_unix_socket = true
        receiver_unix_socket = "r.sock"
        unix_socket_user = "no-such-user"
        unix_socket_group = "no-such-group"
        max_apps = "many"
        [poll_external]
        poll_other_scrape_endpoints = true
        [poll_external.tls_config]
        ca_file = "config.toml"
        [[poll_external.targets]]
        url = "https://localhost:1/"
        basic_auth = { username = "a", password_file = "missing.password" }
        [[poll_external.targets]]
        url = "https://localhost:2/"
        authorization = { credentials_file = "two-lines.token" }

        """
    let result = try await check(config, certificates: true) { folder in
        try folder.write("two-lines.token", "one\ntwo\n")
        #expect(chmod(folder.path("two-lines.token"), 0o600) == 0)
    }
    #expect(result.status == .exited(1))
    #expect(result.output == "")
    #expect(
        places(result) == [
            "config.toml:3:1:", "config.toml:6:12:", "config.toml:10:20:", "config.toml:11:21:", "config.toml:12:12:",
            "config.toml:16:11:", "config.toml:19:48:", "config.toml:22:38:",
        ], "\(result.errors)")
    for line in result.errors.split(separator: "\n") { #expect(line.contains(": error: "), "\(line)") }
}

@Test(
    "check names a certificate, key or authority that cannot be used, by line and key",
    arguments: [
        // The line, key and file at fault.
        ("cert_file = \"certs/server.pem\"", "cert_file = \"certs/missing.pem\"", "11:13", "cert_file"),
        ("cert_file = \"certs/server.pem\"", "cert_file = \"config.toml\"", "11:13", "cert_file"),
        ("cert_file = \"certs/server.pem\"", "cert_file = \"certs\"", "11:13", "cert_file"),
        ("key_file = \"certs/server-key.pem\"", "key_file = \"certs/missing.pem\"", "12:12", "key_file"),
        ("key_file = \"certs/server-key.pem\"", "key_file = \"certs/server.pem\"", "12:12", "key_file"),
        ("key_file = \"certs/server-key.pem\"", "key_file = \"certs/client-key.pem\"", "12:12", "key_file"),
    ])
func checkNamesTheFileAtFault(right: String, wrong: String, place: String, key: String) async throws {
    let config = Configurations.scrape + Configurations.receivers()
    let tls = "[receiver.tls_server_config]\ncert_file = \"certs/server.pem\"\nkey_file = \"certs/server-key.pem\"\n"
    let text = (config.split(separator: "\n").joined(separator: "\n") + "\n" + tls).replacing(right, with: wrong)
    let result = try await check(text, certificates: true)
    #expect(result.status == .exited(1))
    // A certificate can be read by every user, which is warned about where it stands for the key.
    let errors = result.errors.split(separator: "\n").filter { !$0.contains(": warning: ") }
    #expect(errors.map { String($0.prefix { $0 != " " }) } == ["config.toml:\(place):"], "\(result.errors)")
    #expect(result.errors.contains("receiver.tls_server_config.\(key)"), "\(result.errors)")
}

@Test("a problem stands at the key that has it, once, also when another key names the same file")
func problemsStandAtTheirKeys() async throws {
    let targets = """
        [poll_external]
        poll_other_scrape_endpoints = true
        [[poll_external.targets]]
        url = "http://a.example/metrics"
        basic_auth = { username = "u", password_file = "right" }
        [[poll_external.targets]]
        url = "http://b.example/metrics"
        basic_auth = { username = "u:v", password_file = "right" }
        [[poll_external.targets]]
        url = "https://c.example/metrics"
        tls_config = { cert_file = "certs/client.pem" }

        """
    let result = try await check(Configurations.scrape + targets, certificates: true) { try $0.write("right", "secret", mode: 0o600) }
    #expect(places(result) == ["config.toml:11:27:", "config.toml:14:28:"], "\(result.errors)")
    let bad = try await check(Configurations.scrape + targets.replacing("u:v", with: "u").replacing("cert_file", with: "ca_file")) {
        try $0.write("right", "two\nlines", mode: 0o600)
        try FileManager.default.createDirectory(atPath: $0.path("certs"), withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: "\(checkout)/certs/ca.pem", toPath: $0.path("certs/client.pem"))
    }
    #expect(places(bad) == ["config.toml:8:48:", "config.toml:11:48:"], "\(bad.errors)")
}

@Test("a curve or a suite that is named twice counts once")
func namedTwice() async throws {
    let tls = """
        cipher_suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"]
        curve_preferences = ["X25519", "x25519", "CurveP256", "P-256"]

        """
    let config = Configurations.scrape(tls: "required", tls) + "[poll_external.tls_config]\n\(tls)"
    let result = try await check(config, certificates: true)
    #expect(result.succeeded, "\(result.errors)")
}

@Test("a file that is not there, or is not TOML, fails the check")
func aFileThatIsNoneFailsTheCheck() async throws {
    let missing = try await runProxy("", arguments: ["check", "--config", "other.toml"])
    #expect(missing.status == .exited(1))
    #expect(missing.errors == "other.toml: error: cannot read the configuration file: no such file or directory\n")
    let broken = try await check("[exporter\n")
    #expect(broken.status == .exited(1))
    #expect(broken.errors.hasPrefix("config.toml:1:"), "\(broken.errors)")
}

@Test("warnings leave the check's exit code at 0")
func warningsLeaveTheExitCode() async throws {
    let result = try await check(Configurations.scrape + "[poll_external]\npoll_interval = 1\nclient_timeout = 2\n")
    #expect(result.succeeded)
    #expect(result.output == "config.toml: OK\n")
    #expect(places(result) == ["config.toml:6:18:"] && result.errors.contains(": warning: "), "\(result.errors)")
}

@Test("a missing folder of the socket is warned about: a service manager may make it at the start")
func aMissingSocketFolderIsAWarning() async throws {
    let socket = "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"no/such/r.sock\"\n"
    let result = try await check(Configurations.scrape + socket)
    #expect(result.succeeded)
    #expect(result.errors.hasPrefix("config.toml:6:24: warning: ") && result.errors.contains("no/such"), "\(result.errors)")
}

@Test("check opens nothing: it passes beside the running proxy, and leaves its socket alone")
func checkOpensNothing() async throws {
    let config = Configurations.scrape + Configurations.receivers()
    try await withProxy(config) { proxy in
        let fixed = config.replacing("127.0.0.1:0\"\n[receiver]", with: "\(proxy.scrape)\"\n[receiver]")
        try proxy.folder.write("config.toml", fixed)
        let result = try await run(ProxyProcess.executable, ["check", "-c", proxy.folder.path("config.toml")])
        #expect(result.succeeded, "\(result.errors)")
        #expect(try await pushOverUnixSocket("{\"app\": \"a 1\"}", to: proxy) == "")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=app").body == "a 1\n")
    }
}

@Test(
    "check passes for a user who may not bind the port of the running service, and fails once nothing listens there",
    .enabled("a network of its own") { await PrivateMachine.isThere() })
func checkPassesBesideAServiceOnALowPort() async throws {
    try await withTemporaryFolder { folder in
        try folder.write("config.toml", "[exporter]\nscrape_expose_endpoint = [\"127.0.0.1:443\", \"127.0.0.1:6555\"]\n")
        let script = """
            start config.toml
            check() { setpriv --bounding-set -net_bind_service "$program" check --config config.toml; }
            check
            kill $proxy
            wait $proxy
            ! check
            """
        let result = try await PrivateMachine.run(script, folder: folder)
        #expect(result.succeeded && result.output == "config.toml: OK\n", "\(result.errors)")
        #expect(result.errors.contains("cannot listen on 127.0.0.1:443: permission denied"), "\(result.errors)")
    }
}

@Test(
    "a socket on which a process listens is no error in a folder in which this user may not make one; without the process it is",
    .enabled("the program can run without root's rights") { await Unprivileged.canRunTheProxy() })
func checkPassesBesideAPassedUnixSocket() async throws {
    let listen = """
        import signal, socket, sys
        s = socket.socket(socket.AF_UNIX)
        s.bind(sys.argv[1])
        s.listen()
        print("listening", flush=True)
        signal.pause()
        """
    try await withTemporaryFolder { folder in
        let socket = "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"closed folder/r.sock\"\n"
        try folder.write("config.toml", Configurations.scrape + socket)
        try folder.write("closed folder/file", "")
        // Only root can remove a file from a folder without write permission.
        defer { chmod(folder.path("closed folder"), 0o755) }
        let check = { try await Unprivileged.runProxy(["check", "-c", "config.toml"], workingFolder: folder.path) }
        try await withProgram("python3", ["-c", listen, folder.path("closed folder/r.sock")]) { python in
            try await wait(for: "python to listen") { python.outputBytes.last == UInt8(ascii: "\n") }
            for (name, mode) in [("", 0o755), ("closed folder", 0o555), ("closed folder/r.sock", 0o666)] as [(String, mode_t)] {
                #expect(chmod(folder.path(name), mode) == 0)
            }
            let result = try await check()
            #expect(result.succeeded && result.errors == "", "\(result.errors)")
        }
        let result = try await check()
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("permission denied: this user may not create files in "), "\(result.errors)")
    }
}

@Test("check takes no argument but the file", arguments: [["check", "extra"], ["check", "--to", "x"], ["check", "-c"]])
func checkTakesNoOtherArgument(arguments: [String]) async throws {
    #expect(try await run(ProxyProcess.executable, arguments).status == .exited(64))
}

@Test("without a name, check looks where serve does")
func checkLooksWhereServeDoes() async throws {
    let result = try await runProxy("nonsense = 1\n", arguments: ["check"])
    #expect(result.status == .exited(1))
    #expect(result.errors.contains("config.toml:1:1: error: "), "\(result.errors)")
}

@Test(
    "check warns of what the rights of the user make fail at a start: the owner of the socket, a socket of another user, the state file",
    .enabled("the program can run without root's rights") { await Unprivileged.canRunTheProxy() })
func checkWarnsOfMissingRights() async throws {
    try await withTemporaryFolder { folder in
        try folder.write("open/file", "")
        try folder.write("closed/apps.state", "")
        #expect(chmod(folder.path, 0o755) == 0 && chmod(folder.path("open"), 0o777) == 0 && chmod(folder.path("closed"), 0o555) == 0)
        // Only root can remove a file from a folder without write permission.
        defer { chmod(folder.path("closed"), 0o755) }
        let makeSocket = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
        #expect(try await run("python3", ["-c", makeSocket, folder.path("open/r.sock")]).succeeded)
        #expect(chmod(folder.path("open/r.sock"), 0) == 0)
        let socket = "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"open/r.sock\"\n"
        for owner in ["unix_socket_user", "unix_socket_group"] {
            let config = "\(Configurations.scrape)\(socket)\(owner) = \"root\"\nstate_file = \"closed/apps.state\"\n"
            try folder.write("config.toml", config)
            let line = config.split(separator: "\n", omittingEmptySubsequences: false).firstIndex { $0.hasPrefix("receiver_unix") } ?? 0
            let result = try await Unprivileged.runProxy(["check", "-c", "config.toml"], workingFolder: folder.path)
            #expect(result.succeeded && result.output == "config.toml: OK\n", "\(result.errors)")
            let expected: [(place: String, words: String)] = [
                ("config.toml:\(line + 1):24: warning:", "a start would fail now: a socket is there that this user may not connect to"),
                ("config.toml:\(line + 2):\(owner.count + 4): warning:", "a start would fail now: cannot give the socket to"),
                ("config.toml:\(line + 3):14: warning:", "if the file is damaged, a start fails"),
            ]
            let lines = result.errors.split(separator: "\n")
            #expect(lines.count == expected.count, "\(result.errors)")
            for (line, (place, words)) in zip(lines, expected) {
                #expect(line.hasPrefix(place) && line.contains(words), "\(result.errors)")
            }
        }
    }
}

@Test(
    "check --user reports a port that a program of another user holds as an error that names it",
    .enabled(if: geteuid() == 0, "only root can take the rights of another user"))
func checkNamesTheHolderOfAPortForAUser() async throws {
    let listen = """
        import signal, socket
        s = socket.create_server(("127.0.0.1", 0))
        print(s.getsockname()[1], flush=True)
        signal.pause()
        """
    try await withTemporaryFolder { folder in
        #expect(chmod(folder.path, 0o755) == 0)
        try await withProgram("python3", ["-c", listen]) { python in
            try await wait(for: "python to listen") { python.outputBytes.last == UInt8(ascii: "\n") }
            let port = String(decoding: python.outputBytes.dropLast(), as: UTF8.self)
            try folder.write("config.toml", "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:\(port)\"\n")
            let result = try await run(
                ProxyProcess.executable, ["check", "--user", "nobody", "-c", "config.toml"], workingFolder: folder.path)
            #expect(result.status == .exited(1))
            #expect(result.errors.hasPrefix("config.toml:2:26: error: ") && result.errors.contains("in use by python3"), "\(result.errors)")
        }
    }
}

@Test(
    "a wrong value has one error, and none about its default, which cannot be used either",
    .enabled("the program can run without root's rights") { await Unprivileged.canRunTheProxy() })
func aWrongValueHasOneError() async throws {
    try await withTemporaryFolder { folder in
        try folder.write(
            "config.toml",
            "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"unix:/r.sock\"\n"
        )
        #expect(chmod(folder.path, 0o755) == 0)
        let result = try await Unprivileged.runProxy(["check", "-c", "config.toml"], workingFolder: folder.path)
        #expect(result.status == .exited(1))
        #expect(places(result) == ["config.toml:5:24:"], "\(result.errors)")
    }
}
