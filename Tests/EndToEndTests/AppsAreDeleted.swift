import TestSupport
import Testing

@Suite struct AppsAreDeleted {
    private static let allowed = Configurations.scrape + "enable_lifecycle = true\n"

    @Test("curl deletes an app by name, and the log says who did")
    func deletes() async throws {
        try await withProxy(Self.allowed + Configurations.receivers()) { proxy in
            #expect(try await pushOverUnixSocket(#"{"job/nightly": "gone 1", "other": "stays 1"}"#, to: proxy) == "")
            let app = "http://\(proxy.scrape)/apps/job%2Fnightly"
            #expect(try await curl(app).status == 200)
            #expect(try await curl(app, ["-X", "PUT"]).status == 405)
            let deleted = try await curl(app, ["-X", "DELETE"])
            #expect(deleted.status == 204)
            #expect(deleted.body == "" && deleted.headers["content-length"] == nil)
            #expect(try await curl("http://\(proxy.scrape)/metrics").body.contains("gone") == false)
            #expect(try await curl("http://\(proxy.scrape)/metrics").body.contains("stays 1\n"))
            #expect(try await curl(app, ["-X", "DELETE"]).status == 404)
            #expect(try await curl(app).status == 404)
            try await wait(for: "the line in the log") { proxy.log.contains("DELETE /apps/job/nightly") }
            let lines = proxy.log.split(separator: "\n").filter { $0.contains("DELETE") }
            #expect(lines.count == 1, "\(lines)")
            #expect(lines.first?.contains("status=204") == true && lines.first?.contains("peer=127.0.0.1:") == true, "\(lines)")
        }
    }

    @Test("a polled app's metrics are gone until its target next answers")
    func polled() async throws {
        try await withTemporaryFolder { pages in
            try pages.write("metrics", "polled 1\n")
            try await withPageServer(folder: pages.path) { server in
                let poll = Configurations.poll("http://127.0.0.1:\(server.port)/metrics")
                try await withProxy(Self.allowed + poll) { proxy in
                    let metrics = "http://\(proxy.scrape)/metrics"
                    try await wait(for: "the poll") { try await curl(metrics).body.contains("polled 1\n") }
                    // The next poll may come at once, so what is asked for is that it brings them back.
                    let app = "http://\(proxy.scrape)/apps/external_poll:%20127.0.0.1:\(server.port)"
                    #expect(try await curl(app, ["-X", "DELETE"]).status == 204)
                    try await wait(for: "the next poll") { try await curl(metrics).body.contains("polled 1\n") }
                }
            }
        }
    }

    @Test("without enable_lifecycle it is refused")
    func forbidden() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            #expect(try await pushOverUnixSocket(#"{"app": "stays 1"}"#, to: proxy) == "")
            let refused = try await curl("http://\(proxy.scrape)/apps/app", ["-X", "DELETE"])
            #expect(refused.status == 403)
            #expect(refused.body.contains("enable_lifecycle"))
            #expect(try await curl("http://\(proxy.scrape)/metrics").body.contains("stays 1\n"))
            #expect(!proxy.log.contains("DELETE"))
        }
    }
}
