import TestSupport
import Testing

@Test("an app that pushes no more leaves /metrics, is marked in /apps, answers 503, and comes back with its next push")
func anExpiredAppLeavesTheMetrics() async throws {
    let config = Configurations.scrape + "expire_after = \"3s\"\n" + Configurations.receivers("max_apps = 2")
    try await withProxy(config) { proxy in
        try await wait(for: "the app to be seen fresh") {
            _ = try await pushOverUnixSocket(#"{"a": "a 1"}"#, to: proxy)
            return try await curl("http://\(proxy.scrape)/metrics?app=a").body == "a 1\n"
        }
        try await wait(for: "the app to expire") { try await curl("http://\(proxy.scrape)/metrics?app=a").status == 503 }
        #expect(try await !curl("http://\(proxy.scrape)/metrics").body.hasPrefix("a 1\n"))
        #expect(try await curl("http://\(proxy.scrape)/apps").body.contains("UTC (expired) |"))

        // Where max_apps is two, the second new one takes the expired one's place.
        #expect(try await pushOverUnixSocket(#"{"b": "b 1"}"#, to: proxy) == "")
        #expect(try await pushOverUnixSocket(#"{"c": "c 1"}"#, to: proxy) == "")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=a").status == 404)
        try await wait(for: "the others to expire") { try await curl("http://\(proxy.scrape)/metrics?app=b&app=c").status == 503 }
        try await wait(for: "the app to be back") {
            _ = try await pushOverUnixSocket(#"{"a": "a 2"}"#, to: proxy)
            return try await curl("http://\(proxy.scrape)/metrics?app=a").body == "a 2\n"
        }
    }
}

@Test("the last good metrics of a target that fails leave after its expire_after")
func anExpiredTargetLeavesTheMetrics() async throws {
    try await withTemporaryFolder { pages in
        try pages.write("page", "page 1\n")
        try await withPageServer(folder: pages.path) { server in
            let url = "http://127.0.0.1:\(server.port)/page"
            let config = Configurations.scrape + Configurations.poll(url, more: "expire_after = \"3s\"")
            try await withProxy(config) { proxy in
                try await waitUntilReady(proxy)
                try await wait(for: "the page") { try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix("page 1\n") }
                try pages.write("page", [0xFF])
                try await wait(for: "the target to expire") { try await curl("http://\(proxy.scrape)/apps").body.contains("UTC (expired)") }
                #expect(try await !curl("http://\(proxy.scrape)/metrics").body.hasPrefix("page 1\n"))
                try pages.write("page", "page 2\n")
                try await wait(for: "the target to be back") { try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix("page 2\n") }
            }
        }
    }
}
