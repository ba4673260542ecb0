import TestSupport
import Testing

/// `openesame` and `other`, at bcrypt's lowest cost.
private let users = """
    [exporter.basic_auth_users]
    prom = "$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"
    other = "$2b$04$zyxwvutsrqponmlkjihgfeoEG75ieRiMxivbt62jo80oWmRUDHZ.e"

    """

@Test("a change of users ends connections made before, an edit of something else does not; no hash is logged")
func aChangeOfUsersEndsConnections() async throws {
    try await withProxy(Configurations.scrape + users) { proxy in
        let old = try RawConnection(to: proxy.scrape)
        func ask() async throws -> Int {
            try old.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic cHJvbTpvcGVuZXNhbWU=\r\n\r\n")
            return try await old.response().status
        }
        #expect(try await ask() == 200)
        try await proxy.save(Configurations.scrape + users + "[receiver]\nmax_apps = 7\n")
        #expect(try await ask() == 200)
        try await proxy.save(
            Configurations.scrape + users.split(separator: "\n").filter { !$0.hasPrefix("prom") }.joined(separator: "\n") + "\n")
        try await wait(for: "the connection to end") { try old.isEnded }
        #expect(try await curl("http://\(proxy.scrape)/metrics", ["--user", "prom:openesame"]).status == 401)
        #expect(try await curl("http://\(proxy.scrape)/metrics", ["--user", "other:other"]).status == 200)
        try await wait(for: "the log") { proxy.log.contains("exporter.basic_auth_users has changed") }
        #expect(!proxy.log.contains("$2"), "\(proxy.log)")
    }
}
