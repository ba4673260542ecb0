import TestSupport
import Testing

/// `openesame` and `other`, at bcrypt's lowest cost.
private let users = """
    [exporter.basic_auth_users]
    prom = "$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"
    "other user" = "$2b$04$zyxwvutsrqponmlkjihgfeoEG75ieRiMxivbt62jo80oWmRUDHZ.e"

    """

@Test("everything but the health checks asks for a password, and says so to curl")
func everythingAsksForAPassword() async throws {
    try await withProxy(Configurations.scrape + users) { proxy in
        for path in ["/", "/metrics", "/apps", "/sd", "/nothing", "/metrics?app=a", "/-/healthy/"] {
            let answer = try await curl("http://\(proxy.scrape)\(path)")
            #expect(answer.status == 401, "\(path)")
            #expect(answer.headers["www-authenticate"] == "Basic realm=\"exporter-proxy\", charset=\"UTF-8\"")
        }
        for path in ["/-/healthy", "/-/ready"] { #expect(try await curl("http://\(proxy.scrape)\(path)").status == 200) }
        for user in ["prom:openesame", "other user:other"] {
            #expect(try await curl("http://\(proxy.scrape)/metrics", ["--user", user]).status == 200)
        }
        for user in ["prom:other", "prom:", "nobody:openesame", "other user:openesame", ":openesame"] {
            #expect(try await curl("http://\(proxy.scrape)/metrics", ["--user", user]).status == 401, "\(user)")
        }
        #expect(!proxy.log.contains("openesame") && !proxy.log.contains("$2"), "\(proxy.log)")
    }
}

@Test("a flood of wrong passwords does not keep out who is in")
func aFloodOfWrongPasswords() async throws {
    // At this cost a check takes some 50 ms, so that those of forty at once never come to an end.
    let costly = users.replacing(
        "$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O", with: "$10$ABCDEFGHIJKLMNOPQRSTUuCzLpQ73KScP.YVUqd9gqxEzBE9Z7dBa")
    let guesses = """
        import base64, http.client, itertools, sys, threading
        def guess(thread):
            for number in itertools.count():
                connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
                password = base64.b64encode(f"prom:{thread} {number}".encode()).decode()
                connection.request("GET", "/metrics", headers={"Authorization": "Basic " + password})
                sys.stdout.write(f"{connection.getresponse().status}\\n"); sys.stdout.flush()
        for thread in range(40): threading.Thread(target=guess, args=[thread]).start()
        """
    try await withProxy(Configurations.scrape + costly) { proxy in
        let url = "http://\(proxy.scrape)/metrics"
        #expect(try await curl(url, ["--user", "prom:openesame"]).status == 200)
        try await withProgram(Tools.python, ["-c", guesses, proxy.scrapePort]) { flood in
            try await wait(for: "the flood") { String(decoding: flood.outputBytes, as: UTF8.self).contains("503") ? true : nil }
            for _ in 0..<20 { #expect(try await curl(url, ["--user", "prom:openesame"]).status == 200) }
            #expect(flood.exitStatus == nil, "the flood had ended before: \(flood.errors)")
            let answers = Set(String(decoding: flood.outputBytes, as: UTF8.self).split(separator: "\n"))
            #expect(answers.isSubset(of: ["401", "503"]), "\(answers)")
        }
    }
}

@Test("what is no bcrypt hash is an error with its place, and is not shown")
func aHashThatIsNone() async throws {
    let result = try await runProxy(
        "[exporter.basic_auth_users]\nprom = \"plaintext\"\n\"a:b\" = \"$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O\"\n")
    #expect(result.status == .exited(1))
    #expect(result.errors.contains("config.toml:2:8: error: exporter.basic_auth_users"), "\(result.errors)")
    #expect(result.errors.contains("config.toml:3:1: error: exporter.basic_auth_users"), "\(result.errors)")
    #expect(!result.errors.contains("plaintext") && !result.errors.contains("abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"))
}
