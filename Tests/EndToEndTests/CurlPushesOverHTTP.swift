import Foundation
import TestSupport
import Testing

@Suite struct CurlPushesOverHTTP {
    private static func url(_ proxy: ProxyProcess, _ path: String) -> String { "http://\(proxy.pushes)\(path)" }

    private static func metrics(_ proxy: ProxyProcess, _ app: String) async throws -> HTTPAnswer {
        try await curl("http://\(proxy.scrape)/metrics?app=\(app)")
    }

    @Test("the commands that / prints work as they are printed")
    func printedCommands() async throws {
        try await withProxy(Configurations.scrape + Configurations.httpReceiver()) { proxy in
            let page = try await curl(Self.url(proxy, "/"))
            #expect(page.status == 200)
            #expect(page.body.split(separator: "\n", omittingEmptySubsequences: false).count <= 12)
            let commands = page.body.split(separator: "\n").compactMap { line in
                ["echo '", "curl -d", "curl -X"].compactMap { line.firstRange(of: $0) }.map(\.lowerBound).min().map { String(line[$0...]) }
            }
            #expect(commands.count == 6)
            var statuses: [String] = []
            for command in commands {
                let quiet = command.replacing("curl ", with: "curl -q --noproxy '*' -s -o /dev/null -w '%{http_code}' ")
                statuses.append(try await run("sh", ["-c", quiet]).output)
            }
            #expect(statuses == ["204", "204", "204", "200", "200", "202"])
        }
    }

    @Test("curl -T replaces an app's metrics byte for byte, and /apps/NAME says who sent them")
    func text() async throws {
        try await withProxy(Configurations.scrape + Configurations.httpReceiver()) { proxy in
            let text = "# any comment\r\nodd   text{  1\nlast line without its end"
            let put = try await run(
                "curl", ["-q", "-s", "-i", "--noproxy", "*", "-T", "-", Self.url(proxy, "/apps/a/b%20c")], input: Array(text.utf8))
            #expect(put.output.contains("HTTP/1.1 204 No Content"))
            #expect(!put.output.lowercased().contains("content-length"))
            #expect(try await Self.metrics(proxy, "a/b%20c").body == text + "\n")
            let app = try await curl("http://\(proxy.scrape)/apps/a/b%20c").body
            #expect(app.contains("source:      \(proxy.pushes)\n"))
            #expect(app.contains(#/sender:      127\.0\.0\.1:[0-9]+\n/#))
            // An app without metrics stays listed.
            #expect(try await curl(Self.url(proxy, "/apps/a/b%20c"), ["-X", "PUT"]).status == 204)
            #expect(try await curl("http://\(proxy.scrape)/apps/a/b%20c").body.contains("bytes:       0\n"))
            // What a client sets for all its pushes does not matter to a deletion.
            #expect(try await curl(Self.url(proxy, "/apps/a/b%20c"), ["-X", "DELETE", "-H", "Content-Encoding: gzip"]).status == 204)
            #expect(try await curl(Self.url(proxy, "/apps/a/b%20c"), ["-X", "DELETE"]).status == 404)
            #expect(try await curl("http://\(proxy.scrape)/apps/a/b%20c").status == 404)
            // A name may begin with a combining mark, which makes one character with the slash before it.
            #expect(try await curl(Self.url(proxy, "/apps/%CC%81x"), ["-X", "PUT", "-d", "a 1"]).status == 204)
            #expect(try await curl("http://\(proxy.scrape)/apps/%CC%81x").status == 200)
            #expect(try await curl(Self.url(proxy, "/apps/%CC%81x"), ["-X", "DELETE"]).status == 204)
            #expect(try await curl(Self.url(proxy, "/metrics/job/%CC%81x"), ["-X", "PUT", "-d", "a 1"]).status == 200)
            #expect(try await Self.metrics(proxy, "job/%CC%81x").body.contains("a{instance=\"\",job=\"\u{301}x\"} 1\n"))
            #expect(try await curl(Self.url(proxy, "/metrics/job/%CC%81x"), ["-X", "DELETE"]).status == 202)
            // The scrape side never takes a push.
            #expect(try await curl("http://\(proxy.scrape)/apps/x", ["-X", "PUT", "-d", "a 1"]).status == 405)
            #expect(try await curl("http://\(proxy.scrape)/apps", ["-d", "{\"x\": \"a 1\"}"]).status == 405)
            #expect(try await curl("http://\(proxy.scrape)/metrics/job/x", ["-d", "a 1"]).status == 404)
        }
    }

    @Test("POST /apps takes the JSON of the other receivers, all objects of a request together")
    func json() async throws {
        try await withProxy(Configurations.scrape + Configurations.httpReceiver()) { proxy in
            let body = #"{"a": "x 1\ny 2", "b": ["p 1", "q 2"]} {"a": "x 3"}"#
            #expect(try await curl(Self.url(proxy, "/apps"), ["-d", body]).status == 204)
            #expect(try await Self.metrics(proxy, "a").body == "x 3\n")
            #expect(try await Self.metrics(proxy, "b").body == "p 1\nq 2\n")
            let refused = try await curl(Self.url(proxy, "/apps"), ["-d", #"{"a": "x 4"} {"b": 5}"#])
            #expect(refused.status == 400)
            #expect(refused.body.hasPrefix("error: malformed JSON: the metrics of app \"b\" are a number"))
            #expect(try await Self.metrics(proxy, "a").body == "x 3\n")
        }
    }

    @Test("bodies are counted uncompressed, however they are sent: at max_message_size they pass, one byte past it they do not")
    func limits() async throws {
        let config = Configurations.scrape + Configurations.httpReceiver("max_message_size = 300000")
        try await withProxy(config) { proxy in
            func push(_ size: Int, _ options: [String], zipped: Bool) async throws -> HTTPAnswer {
                try proxy.folder.write("body", String(repeating: "x", count: size - 1) + "\n")
                if zipped { try await shell("gzip -kf body", in: proxy.folder.path) }
                let file = proxy.folder.path(zipped ? "body.gz" : "body")
                return try await curl(
                    Self.url(proxy, "/apps/a"), ["-T", file, "-H", "Expect:"] + options + (zipped ? ["-H", "Content-Encoding: gzip"] : []))
            }
            for zipped in [false, true] {
                for options in [[], ["-H", "Transfer-Encoding: chunked"]] {
                    #expect(try await push(300_000, options, zipped: zipped).status == 204)
                    let refused = try await push(300_001, options, zipped: zipped)
                    #expect(refused.status == 413)
                    #expect(refused.body.hasPrefix("error: message is larger than max_message_size (300000 bytes)"))
                }
            }
            // A bomb: 50 MB in 50 KB.
            #expect(try await push(50_000_000, [], zipped: true).status == 413)
            #expect(try await Self.metrics(proxy, "a").bodyBytes.count == 300_000)
        }
    }

    @Test("a body almost as large as max_inflight_size is taken when nothing else is being received, however it is sent")
    func largest() async throws {
        let limits = "max_inflight_size = \"2MiB\"\nmax_message_size = \"2MiB\""
        try await withProxy(Configurations.scrape + Configurations.httpReceiver(limits)) { proxy in
            let lines = (0..<80_000).map { "a{n=\"\($0)\"} 1\n" }.joined()
            try proxy.folder.write("text", lines)
            try proxy.folder.write("json", String(decoding: JSONEncoder().encode(["b": lines]), as: UTF8.self))
            try await shell("gzip -k text json", in: proxy.folder.path)
            func push(_ file: String, _ path: String, _ options: [String]) async throws -> Int {
                let data = ["--data-binary", "@" + proxy.folder.path(file), "-X", path == "/apps" ? "POST" : "PUT", "-H", "Expect:"]
                return try await curl(Self.url(proxy, path), data + options).status
            }
            for options in [[], ["-H", "Transfer-Encoding: chunked"]] {
                #expect(try await push("text", "/apps/a", options) == 204)
                #expect(try await push("json", "/apps", options) == 204)
                #expect(try await push("text.gz", "/apps/a", options + ["-H", "Content-Encoding: gzip"]) == 204)
                #expect(try await push("json.gz", "/apps", options + ["-H", "Content-Encoding: gzip"]) == 204)
            }
            #expect(try await Self.metrics(proxy, "a").body == lines)
            #expect(try await Self.metrics(proxy, "b").body == lines)
        }
    }

    @Test("a client that asks first is told before it sends")
    func expectation() async throws {
        try await withProxy(Configurations.scrape + Configurations.httpReceiver("max_message_size = 10")) { proxy in
            func ask(_ length: Int) throws -> RawConnection {
                let connection = try RawConnection(to: proxy.pushes)
                try connection.send("PUT /apps/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: \(length)\r\n\r\n")
                return connection
            }
            let taken = try ask(4)
            #expect(try await taken.response().status == 100)
            try taken.send("a 1\n")
            #expect(try await taken.response().status == 204)
            let refused = try ask(11)
            #expect(try await refused.response().status == 413)
            #expect(try await refused.receiveToEnd() == "")
        }
    }

    @Test("on, off and moved by a reload; limits hold for the next request of an open connection")
    func reload() async throws {
        let off = Configurations.scrape + "[receiver]\n"
        try await withProxy(off) { proxy in
            let port = try reservePort()
            let on = Configurations.scrape + Configurations.httpReceiver().replacing("127.0.0.1:0", with: "127.0.0.1:\(port)")
            try await proxy.save(on)
            #expect(proxy.log.contains("HTTP receiver 127.0.0.1:\(port) opens"))
            let kept = try RawConnection(to: "127.0.0.1:\(port)")
            func put(_ text: String, _ connection: RawConnection) async throws -> Int {
                try connection.send("PUT /apps/a HTTP/1.1\r\nHost: a\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)")
                return try await connection.response().status
            }
            #expect(try await put("a 1234", kept) == 204)
            try await proxy.save(on + "max_message_size = 5\n")
            #expect(try await put("a 1", kept) == 204)
            #expect(try await put("a 1234", kept) == 413)
            let other = try reservePort()
            let before = try RawConnection(to: "127.0.0.1:\(port)")
            #expect(try await put("a 1", before) == 204)
            try await proxy.save(on.replacing(":\(port)", with: ":\(other)"))
            #expect(try await before.receiveToEnd() == "")
            #expect(try await put("b 2", RawConnection(to: "127.0.0.1:\(other)")) == 204)
            #expect(throws: (any Error).self) { try RawConnection(to: "127.0.0.1:\(port)") }
            try await proxy.save(off)
            try await wait(for: "the receiver to close") { (try? RawConnection(to: "127.0.0.1:\(other)")) == nil }
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=a").body == "b 2\n")
        }
    }

    @Test("a push that has begun when the program stops is applied and answered")
    func drain() async throws {
        let config = Configurations.scrape + Configurations.patience + Configurations.httpReceiver("message_timeout = \"10m\"")
        try await withProxy(config) { proxy in
            let idle = try RawConnection(to: proxy.pushes)
            #expect(try await idle.get("/-/nothing").status == 404)
            let connection = try RawConnection(to: proxy.pushes)
            try connection.send("PUT /apps/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\na ")
            // It has been read once another connection's request is answered: there is one event loop.
            #expect(try await curl(Self.url(proxy, "/-/ready")).status == 200)
            proxy.program.send(signal: SIGTERM)
            // All connections are told at the same moment, after the listener has closed.
            try await wait(for: "the connection without a request to close") { try idle.isEnded }
            try connection.send("1\n")
            let answer = try await connection.response()
            #expect(answer.status == 204 && answer.head.contains("Connection: close"))
            #expect(try await proxy.program.exit().status == .exited(0))
        }
    }

    @Test("a slow body gets 408, a silent kept connection is closed, and too many open bodies get 503")
    func slow() async throws {
        let limits = "message_timeout = \"300ms\"\nidle_timeout = \"300ms\"\nmax_inflight_size = 200000"
        try await withProxy(Configurations.scrape + Configurations.httpReceiver(limits)) { proxy in
            let slow = try RawConnection(to: proxy.pushes)
            try slow.send("PUT /apps/a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\na 1")
            let refused = try await slow.response()
            #expect(refused.status == 408)
            #expect(
                refused.body
                    == "error: the message was not complete within message_timeout: nothing of that message was applied\n")
            #expect(try await slow.receiveToEnd() == "")
            let kept = try RawConnection(to: proxy.pushes)
            try kept.send("PUT /apps/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na 1")
            #expect(try await kept.response().status == 204)
            #expect(try await kept.receiveToEnd() == "")
            try await proxy.save(
                Configurations.scrape + Configurations.httpReceiver("idle_timeout = \"300ms\"\nmax_inflight_size = 200000"))
            let stalled = try RawConnection(to: proxy.pushes)
            try stalled.send("PUT /apps/b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\na 1")
            #expect(try await stalled.response().body.hasPrefix("error: nothing came for idle_timeout within a message"))
            let large = try RawConnection(to: proxy.pushes)
            try large.send("PUT /apps/b HTTP/1.1\r\nHost: a\r\nContent-Length: 250000\r\n\r\n" + String(repeating: "a", count: 240_000))
            let full = try await large.response()
            #expect(full.status == 503)
            #expect(full.body.hasPrefix("error: incomplete messages of all connections would take more than max_inflight_size"))
            #expect(try await Self.metrics(proxy, "a").body == "a 1\n")
        }
    }

    @Test("a push for a host that is not allowed, or from a page of another site, is refused, and the log says why")
    func foreignRequests() async throws {
        let hosts = "allowed_hosts = [\"127.0.0.1\"]\n"
        try await withProxy(Configurations.scrape + hosts + Configurations.httpReceiver()) { proxy in
            func push(_ header: String) async throws -> HTTPAnswer {
                try await curl(Self.url(proxy, "/apps/a"), ["-X", "PUT", "-d", "a 1", "-H", header])
            }
            let misdirected = try await push("Host: evil.example")
            #expect(misdirected.status == 421)
            #expect(misdirected.body == "error: misdirected request: its Host is not in allowed_hosts of [exporter]\n")
            #expect(try await push("Origin: https://evil.example").status == 403)
            try await wait(for: "both lines of the log") {
                proxy.log.contains("misdirected request") && proxy.log.contains("a browser sent this for a page of another site")
            }
            #expect(!proxy.log.contains("send a user name and password"))
        }
    }

    @Test("a head that comes too slowly is told, logged and counted")
    func slowHead() async throws {
        try await withProxy(Configurations.scrape + "header_timeout = \"300ms\"\n" + Configurations.httpReceiver()) { proxy in
            let slow = try RawConnection(to: proxy.pushes)
            try slow.send("PUT /apps/slow HTTP/1.1\r\n")
            let answer = try await slow.response()
            #expect(answer.status == 408)
            #expect(
                answer.body
                    == "error: the head of the request was not complete within header_timeout: nothing of that message was applied\n")
            try await wait(for: "the log's line") { proxy.log.contains("reason=timed_out") }
            let text = try await curl("http://\(proxy.scrape)/metrics/self").body
            #expect(text.contains("rejected_messages_total{listener=\"\(proxy.pushes)\",reason=\"timed_out\"} 1\n"))
        }
    }

    @Test("the proxy counts what the receiver takes and refuses, by format and reason, and no request of it")
    func counts() async throws {
        try await withProxy(Configurations.scrape + Configurations.httpReceiver()) { proxy in
            #expect(try await curl(Self.url(proxy, "/apps/a"), ["-X", "PUT", "-d", "a 1"]).status == 204)
            #expect(try await curl(Self.url(proxy, "/apps"), ["-d", #"{"a": "a 1"}"#]).status == 204)
            #expect(try await curl(Self.url(proxy, "/metrics/job/a"), ["-d", "a 1\n"]).status == 200)
            #expect(try await curl(Self.url(proxy, "/apps"), ["-d", "a 1"]).status == 400)
            #expect(try await curl(Self.url(proxy, "/nothing")).status == 404)
            #expect(try await curl(Self.url(proxy, "/app/a"), ["-X", "PUT", "-d", "a 1"]).status == 404)
            let text = try await curl("http://\(proxy.scrape)/metrics/self").body
            func has(_ series: String) -> Bool { text.contains("exporter_proxy_\(series)\n") }
            let listener = "listener=\"\(proxy.pushes)\""
            #expect(has("received_messages_total{\(listener),format=\"text\"} 2"))
            #expect(has("received_messages_total{\(listener),format=\"json\"} 1"))
            #expect(has("received_messages_total{\(listener),format=\"protobuf\"} 0"))
            #expect(has("rejected_messages_total{\(listener),reason=\"malformed\"} 1"))
            #expect(has("rejected_messages_total{\(listener),reason=\"invalid_name\"} 1"))
            #expect(!text.contains("format=\"capnp\""))
            let requests = text.split(separator: "\n").filter { $0.hasPrefix("exporter_proxy_http_requests_total") }
            #expect(requests.allSatisfy { !$0.contains("nothing") && !$0.contains("code=\"20") || $0.contains("metrics") }, "\(requests)")
        }
    }
}
