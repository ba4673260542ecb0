import TestSupport
import Testing

@Test("an unknown path is 404, another method on a known path 405 with Allow, an unknown app 404")
func curlSeesTheErrorsOfHTTP() async throws {
    try await withProxy(Configurations.scrape) { proxy in
        let base = "http://\(proxy.scrape)"
        #expect(try await curl("\(base)/metric").status == 404)
        #expect(try await curl("\(base)/metrics/").status == 404)
        #expect(try await curl("\(base)/metrics?app=nobody").status == 404)
        for path in ["/metrics", "/apps", "/", "/-/healthy", "/-/ready"] {
            let answer = try await curl("\(base)\(path)", ["--request", "POST", "--data", "x"])
            #expect(answer.status == 405, "POST \(path)")
            let allowed = answer.headers["allow"]?.split(separator: ",").map { $0.filter { $0 != " " } } ?? []
            #expect(Set(allowed) == ["GET", "HEAD"], "POST \(path)")
        }
    }
}
