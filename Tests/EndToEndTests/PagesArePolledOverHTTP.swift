import TestSupport
import Testing

@Test("pages served by Python are polled, exposed, listed, and followed when they change")
func pagesArePolledOverHTTP() async throws {
    try await withTemporaryFolder { pages in
        try pages.write("1025.html", client("1025.html"))
        try pages.write("1026.html", client("1026.html"))
        try await withPageServer(folder: pages.path) { server in
            let first = "http://127.0.0.1:\(server.port)/1025.html"
            let second = "http://127.0.0.1:\(server.port)/1026.html?x=y"
            try await withProxy(Configurations.scrape + Configurations.poll(first, second)) { proxy in
                try await waitUntilReady(proxy)
                // Ready means that each target was polled once: no further waiting here.
                let metrics = try await curl("http://\(proxy.scrape)/metrics").body
                let expected = try client("1025.html") + client("1026.html")
                #expect(metrics.utf8.starts(with: expected))

                // Two targets on one host and port are told apart by path and query.
                let table = try await curl("http://\(proxy.scrape)/apps").body
                #expect(table.contains("| external_poll: 127.0.0.1:\(server.port)/1025.html "), "\(table)")
                #expect(table.contains("| external_poll: 127.0.0.1:\(server.port)/1026.html?x=y "), "\(table)")

                try pages.write("1025.html", "changed 1\n# EOF\n")
                try await wait(for: "the changed page") {
                    try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix("changed 1\n# HELP foo_bar_page1026")
                }
            }
        }
    }
}

@Test("a target that fails keeps its last good metrics and is marked failing")
func aFailingTargetKeepsItsMetrics() async throws {
    try await withTemporaryFolder { pages in
        try pages.write("page", "page 1\n")
        try await withPageServer(folder: pages.path) { server in
            let url = "http://127.0.0.1:\(server.port)/page"
            try await withProxy(Configurations.scrape + Configurations.poll(url)) { proxy in
                try await waitUntilReady(proxy)
                try pages.write("page", [0x78, 0x20, 0xFF, 0x0A])
                try await wait(for: "the target to be failing") {
                    try await curl("http://\(proxy.scrape)/apps").body.contains("UTC (failing)")
                }
                #expect(try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix("page 1\n"))
                let name = "external_poll:%20127.0.0.1:\(server.port)"
                #expect(try await curl("http://\(proxy.scrape)/metrics?app=\(name)").status == 503)
                try pages.write("page", "page 2\n")
                try await wait(for: "the target to be well again") {
                    try await curl("http://\(proxy.scrape)/metrics?app=\(name)").body == "page 2\n"
                }
            }
        }
    }
}

@Test("a target that never answered is listed, makes no delay at the start, and leaves the proxy ready")
func aDeadTargetIsListed() async throws {
    // The discard port of this host: no socket listens there.
    try await withProxy(Configurations.scrape + Configurations.poll("http://127.0.0.1:9/metrics")) { proxy in
        try await waitUntilReady(proxy)
        let table = try await curl("http://\(proxy.scrape)/apps").body
        #expect(table.contains("| external_poll: 127.0.0.1:9 | never (failing) "), "\(table)")
    }
}

func waitUntilReady(_ proxy: ProxyProcess) async throws {
    try await wait(for: "/-/ready") { try await curl("http://\(proxy.scrape)/-/ready").status == 200 }
}
