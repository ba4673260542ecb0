import TestSupport
import Testing

@Test("a removed target's metrics leave at once, an unchanged one keeps its connection, an added one comes")
func targetsComeAndGo() async throws {
    try await HTTPTarget.with { _ in
        [.respond("kept 1\n")]
    } _: { kept in
        try await HTTPTarget.with { _ in
            [.respond("changing 1\n")]
        } _: { changing in
            // Long enough for a loaded machine: a poll that times out would close its connection.
            func targets(_ urls: String...) -> String {
                Configurations.poll(urls[0]).replacing("[\"\(urls[0])\"]", with: "\(urls)")
                    .replacing("poll_interval = 1", with: "poll_interval = 5").replacing("\"500ms\"", with: "5")
            }
            let keptURL = "http://127.0.0.1:\(kept.port)/metrics"
            let other = "http://127.0.0.1:\(changing.port)/metrics"
            try await withProxy(Configurations.scrape + targets(keptURL, other)) { proxy in
                try await waitUntilReady(proxy)
                let old = try RawConnection(to: proxy.scrape)
                let scrape = Configurations.scrape
                #expect(try await old.get("/metrics").body.contains("changing 1\n"))
                try await proxy.save(scrape + targets(keptURL))
                // At once: the first scrape after the reload has it no more.
                let body = try await old.get("/metrics").body
                #expect(body.hasPrefix("kept 1\n") && !body.contains("changing"), "\(body)")
                let listed = try await old.get("/apps").body
                #expect(!listed.contains("127.0.0.1:\(changing.port)"))
                try await wait(for: "its connection to be closed") { changing.openConnections == 0 }
                try await proxy.save(scrape + targets(keptURL, other))
                try await wait(for: "it to be back") { try await old.get("/metrics").body.contains("changing 1\n") }
                let polls = kept.requests.count
                try await wait(for: "another poll of the kept one") { kept.requests.count > polls }
                #expect(kept.connections == 1)
            }
        }
    }
}

@Test("a target whose name changes takes its metrics along, also when two exchange their names")
func renamedTargets() async throws {
    try await HTTPTarget.with { request in
        [.respond("from\(request.path.dropFirst()) 1\n")]
    } _: { target in
        func targets(_ one: String, _ two: String) -> String {
            let tables = [("1", one), ("2", two)].map { path, name in
                "[[poll_external.targets]]\nurl = \"http://127.0.0.1:\(target.port)/\(path)\"\nname = \"\(name)\"\npoll_interval = 3600\nclient_timeout = 5\n"
            }
            return "[poll_external]\npoll_other_scrape_endpoints = true\n\(tables.joined())"
        }
        try await withProxy(Configurations.scrape + targets("a", "b")) { proxy in
            try await waitUntilReady(proxy)
            let old = try RawConnection(to: proxy.scrape)
            #expect(try await old.get("/metrics").body.hasPrefix("from1 1\nfrom2 1\n"))
            try await proxy.save(Configurations.scrape + targets("b", "a"))
            #expect(try await old.get("/metrics").body.hasPrefix("from2 1\nfrom1 1\n"))
            try await proxy.save(Configurations.scrape + targets("z", "a"))
            #expect(try await old.get("/metrics?app=z").body == "from1 1\n")
            #expect(target.requests.count == 2, "no poll was made for it")
        }
    }
}

@Test("a new password file is used by the next poll")
func newPasswordFile() async throws {
    try await HTTPTarget.with { request in
        [.respond("password \(request.headers["authorization"]?.count ?? 0)\n")]
    } _: { target in
        let poll = """
            [poll_external]
            poll_other_scrape_endpoints = true
            poll_interval = 1
            [[poll_external.targets]]
            url = "http://127.0.0.1:\(target.port)/"
            basic_auth = { username = "me", password_file = "password" }
            """
        try await withProxy(Configurations.scrape + poll, prepare: { try $0.write("password", "one") }) { proxy in
            try await waitUntilReady(proxy)
            let before = target.requests.count
            try await proxy.reloading { try proxy.folder.write("password", "another\n") }
            try await wait(for: "the log") { proxy.log.contains("basic_auth.password_file") }
            try await wait(for: "a poll with it") {
                target.requests.dropFirst(before).contains { $0.headers["authorization"] == "Basic bWU6YW5vdGhlcg==" }
            }
            #expect(!proxy.log.contains("another"))
        }
    }
}
