import Foundation
import TestSupport
import Testing

@Suite struct ClientsOfAPushgatewayPush {
    @Test("groups are replaced, merged and deleted as by a Pushgateway, and are apps")
    func groups() async throws {
        try await withProxy(Configurations.scrape + Configurations.httpReceiver()) { proxy in
            func send(_ method: String, _ path: String, _ body: String = "") async throws -> Int {
                try await curl("http://\(proxy.pushes)/metrics/\(path)", ["-X", method, "--data-binary", body]).status
            }
            func samples(_ app: String) async throws -> [Substring] {
                try await curl("http://\(proxy.scrape)/metrics?app=\(app)").body.split(separator: "\n").filter { !$0.hasPrefix("#") }
            }
            #expect(try await send("PUT", "job/j/instance/i", "a 1\nb 1\n") == 200)
            #expect(try await send("POST", "job/j/instance/i", "b{x=\"y\",job=\"other\"} 2") == 200)
            let merged = try await samples("job/j/instance/i")
            #expect(merged.prefix(2) == [#"a{instance="i",job="j"} 1"#, #"b{instance="i",job="j",x="y"} 2"#])
            #expect(merged.count == 4)
            #expect(merged[2].contains(#/push_time_seconds\{instance="i",job="j"\} 1[0-9]{9}/#))
            #expect(merged[3] == #"push_failure_time_seconds{instance="i",job="j"} 0"#)
            // Read and refused: the time of the failure is set. Not read: it is not.
            #expect(try await send("PUT", "job/j/instance/i", "a b\n") == 400)
            #expect(try await samples("job/j/instance/i") == merged)
            #expect(try await send("PUT", "job/j/instance/i", "a 1 5\n") == 400)
            let failed = try await samples("job/j/instance/i")
            #expect(failed.prefix(3) == merged.prefix(3))
            #expect(failed[3] != merged[3])
            // A group is the app of its name, its labels in order of name, and instance is empty without one.
            #expect(try await send("PUT", "job@base64/YS9i/z/1/a@base64/=", "c 1") == 200)
            #expect(try await samples("job/a%252Fb/a//z/1").first == #"c{a="",instance="",job="a/b",z="1"} 1"#)
            #expect(try await send("PUT", "job/j/instance/i") == 200)
            let emptied = try await samples("job/j/instance/i")
            #expect(emptied.count == 2 && emptied[1] == failed[3])
            #expect(try await send("DELETE", "job/j/instance/i") == 202)
            #expect(try await send("DELETE", "job/j/instance/i") == 202)
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=job/j/instance/i").status == 404)
            // A refused first push makes no group.
            #expect(try await send("PUT", "job/first", "a 1 5\n") == 400)
            #expect(try await curl("http://\(proxy.scrape)/apps/job/first").status == 404)
        }
    }

    @Test("a group is merged with what was sent, not with what app_label made of it; it expires as any app")
    func labels() async throws {
        let config = Configurations.scrape + "expire_after = \"1s\"\n" + Configurations.httpReceiver() + "[metrics]\napp_label = \"app\"\n"
        try await withProxy(config) { proxy in
            func post(_ body: String) async throws -> Int {
                try await curl("http://\(proxy.pushes)/metrics/job/j", ["--data-binary", body]).status
            }
            #expect(try await post("a 1\n") == 200)
            #expect(try await post("b{app=\"own\"} 2\n") == 200)
            let text = try await curl("http://\(proxy.scrape)/metrics?app=job/j").body
            #expect(text.contains("\na{instance=\"\",job=\"j\",app=\"job/j\"} 1\n"), "\(text)")
            #expect(text.contains("\nb{exported_app=\"own\",instance=\"\",job=\"j\",app=\"job/j\"} 2\n"), "\(text)")
            try await wait(for: "the group to expire") { try await curl("http://\(proxy.scrape)/metrics?app=job/j").status == 503 }
            // What has expired is gone.
            #expect(try await post("c 1\n") == 200)
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=job/j").body.contains("\na{") == false)
        }
    }

    @Test("a polled app is not deleted by a receiver, and a group of its name takes its place until it is")
    func polled() async throws {
        try await withTemporaryFolder { pages in
            try pages.write("metrics", "polled 1\n")
            try await withPageServer(folder: pages.path) { server in
                let poll =
                    Configurations.polledOnce
                    + "[[poll_external.targets]]\nurl = \"http://127.0.0.1:\(server.port)/metrics\"\nname = \"job/j\"\n"
                try await withProxy(Configurations.scrape + Configurations.httpReceiver() + poll) { proxy in
                    func send(_ method: String, _ path: String, _ body: String = "") async throws -> Int {
                        try await curl("http://\(proxy.pushes)/\(path)", ["-X", method, "--data-binary", body]).status
                    }
                    let metrics = "http://\(proxy.scrape)/metrics?app=job/j"
                    try await wait(for: "the poll") { try await curl(metrics).body == "polled 1\n" }
                    #expect(try await send("DELETE", "apps/job/j") == 404)
                    #expect(try await send("DELETE", "metrics/job/j") == 202)
                    #expect(try await curl(metrics).body == "polled 1\n")
                    #expect(try await send("POST", "metrics/job/j", "a 1\n") == 200)
                    #expect(try await curl(metrics).body.contains("a{instance=\"\",job=\"j\"} 1\n"))
                    #expect(try await send("DELETE", "apps/job/j") == 204)
                    #expect(try await curl(metrics).status == 503)
                }
            }
        }
    }

    @Test("many clients post to one group at once, and no push is lost")
    func concurrently() async throws {
        let threads = Configurations.scrape.replacing("worker_threads = 0", with: "worker_threads = 4")
        try await withProxy(threads + Configurations.httpReceiver()) { proxy in
            let script = """
                import http.client, sys, threading
                def post(number):
                    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
                    for push in range(20):
                        # Small ones and large ones, which are decoded elsewhere.
                        body = f"m_{number}_{push} 1\\n" + (f"large_{number}{{l=\\"{'x' * 100000}\\"}} 1\\n" if push == 10 else "")
                        connection.request("POST", "/metrics/job/j", body)
                        answer = connection.getresponse()
                        answer.read()
                        if answer.status != 200: print(answer.status)
                threads = [threading.Thread(target=post, args=(number,)) for number in range(8)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                """
            let port = proxy.pushes.split(separator: ":").last.map(String.init) ?? ""
            let posted = try await run(Tools.python, ["-c", script, port])
            #expect(posted.succeeded && posted.output == "", "\(posted.output)\(posted.errors)")
            let lines = try await curl("http://\(proxy.scrape)/metrics?app=job/j").body.split(separator: "\n")
            #expect(lines.count { $0.hasPrefix("m_") } == 160)
            #expect(lines.count { $0.hasPrefix("large_") } == 8)
        }
    }
}
