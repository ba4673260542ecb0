import HTTP
import NIOCore
import TestSupport
import Testing

@testable import Proxy

@Suite("/apps as a page")
struct AppsPageTests {
    private let side = ScrapeSide()

    private func page(_ query: String = "") throws -> String {
        let received = try side.send("GET", "/apps\(query)", headers: ["accept": chromium, "host": "h"])
        #expect(received.status == 200)
        #expect(received[header: "Content-Type"] == "text/html; charset=utf-8")
        return received.text
    }

    private let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

    /// The names of the rows, in order, as they stand in the page.
    private func rows(_ page: String) -> [Substring] {
        page.split(separator: "<th scope=\"row\"><a href=\"").dropFirst().compactMap { row in
            row.split(separator: ">", maxSplits: 1).last?.prefix { $0 != "<" }
        }
    }

    /// What others make of the hash of a style or script.
    private func sha256(of text: Substring) async throws -> String {
        let hash = try await run("openssl", ["dgst", "-sha256", "-binary"], input: Array(text.utf8))
        #expect(hash.succeeded)
        return Base64.encode(hash.outputBytes)
    }

    private func ago(_ seconds: Int64) -> Timestamp { Timestamp(nanoseconds: side.now.nanoseconds - seconds * 1_000_000_000) }

    private func fail(_ reason: String, port: UInt16 = 1027) throws {
        side.store.record(.failure(reason: reason), for: try side.target(port: port).url, at: side.now)
    }

    @Test("browsers get it, and requests for its format; all others get the table")
    func negotiation() throws {
        #expect(try page().hasPrefix("<!DOCTYPE html>\n"))
        #expect(try side.send("GET", "/apps?format=html", headers: ["accept": "application/json"]).text.hasPrefix("<!DOCTYPE html>"))
        #expect(try side.send("GET", "/apps?format=text", headers: ["accept": chromium]).text.hasPrefix("+---"))
        #expect(try side.send("GET", "/apps", headers: ["accept": "*/*"]).text.hasPrefix("+---"))
        #expect(try side.send("GET", "/apps", headers: [:]).text.hasPrefix("+---"))
    }

    @Test("its policy allows its own style and script, news from this server, and nothing else")
    func policy() async throws {
        let received = try side.send("GET", "/apps?format=html")
        func hash(of element: String) async throws -> String {
            try await sha256(of: #require(received.text.split(separator: "<\(element)>").last?.split(separator: "</\(element)>").first))
        }
        let style = try await hash(of: "style")
        let script = try await hash(of: "script")
        #expect(
            received[header: "Content-Security-Policy"] == """
                default-src 'none'; style-src 'sha256-\(style)'; script-src 'sha256-\(script)'; connect-src 'self'; base-uri 'none'; \
                form-action 'none'; frame-ancestors 'none'
                """)
        #expect(received[header: "Vary"] == "Accept")
        #expect(received[header: "Cache-Control"] == "no-store")
        for word in ["src=", "<link", "style=", "<form", "<iframe", "http:", "https:", "@import", "url(", " onclick", "innerHTML", "eval("]
        {
            #expect(!received.text.contains(word), "\(word)")
        }
    }

    @Test("each app has its row: state, name, age, size, source, and the error of a failing one")
    func row() throws {
        try side.push([("app", String(repeating: "x", count: 1233) + "\n")], at: ago(200))
        try fail("connection refused")
        let page = try page()
        #expect(
            page.contains(
                """
                <tr class="failing"><td><span class="bad">failing</span></td>\
                <th scope="row"><a href="apps/external_poll%3A%20127.0.0.1%3A1027">external_poll: 127.0.0.1:1027</a>\
                <p>connection refused</p></th><td>never</td>\
                <td title="0 bytes"><a href="metrics?app=external_poll%3A%20127.0.0.1%3A1027">0 B</a></td>\
                <td>http://127.0.0.1:1027/metrics</td></tr>
                <tr class="ok"><td><span class="fine">ok</span></td><th scope="row"><a href="apps/app">app</a></th><td>\
                <time datetime="2022-05-22T23:48:32.939898700Z" title="2022-05-22 23:48:32.939898700 UTC" data-age="">3 min</time></td>\
                <td title="1234 bytes"><a href="metrics?app=app">1.2 KiB</a></td><td>127.0.0.1:6554</td></tr>
                """), "\(page)")
    }

    @Test("the links of the apps . and .. do not lead to another path")
    func dots() throws {
        try side.push([".", "..", "...", "../a"].map { ($0, "a 1\n") })
        let page = try page()
        for link in ["metrics?app=.", "metrics?app=..", "apps/...", "apps/..%2Fa"] {
            #expect(page.contains("<th scope=\"row\"><a href=\"\(link)\">"), "\(link)")
        }
    }

    @Test(
        "names, sources, errors, listeners and searches from outside stay text",
        arguments: [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\"><img src=x onerror=alert(1)>", "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;"),
            ("' onmouseover='x", "&#39; onmouseover=&#39;x"), ("&lt;&amp;", "&amp;lt;&amp;amp;"),
            ("</script><!--", "&lt;/script&gt;&lt;!--"),
            ("a\u{202E}b\u{2066}c\u{200F}", "a\\u{202E}b\\u{2066}c\\u{200F}"), ("größe 大 ✓", "größe 大 ✓"), ("a\u{2028}b", "a\\u{2028}b"),
        ])
    func escaping(hostile: String, escaped: String) throws {
        try side.push([(hostile, "a 1\n")], from: hostile)
        try fail("reason " + hostile + "\n\u{1B}[31m")
        side.lifecycle.status = DaemonStatus(
            startTime: side.now, listeners: [.init(name: "listener " + hostile, kind: .tcp, format: .json)],
            lastReload: .init(time: side.now, error: "first " + hostile + "\nsecond\u{7}"))
        let page = try page()
        #expect(page.contains("\">\(escaped)</a></th>"), "\(page)")
        #expect(page.contains("<td>\(escaped)</td>"))
        #expect(page.contains("<p>reason \(escaped)\\u{A}\\u{1B}[31m</p>"))
        #expect(page.contains("<b>listener \(escaped)</b>"))
        #expect(page.contains("<pre>first \(escaped)\nsecond\\u{7}</pre>"))
        let found = try self.page("?q=\(PercentEncoding.encode(hostile))")
        // As it was typed, so that the same words are looked for when it is sent again.
        #expect(found.contains("value=\"\(escaped.contains("\\u{") ? hostile : escaped)\""))
        #expect(rows(found).count == 2)
        for page in [page, found] {
            #expect(page.split(separator: "<script").count == 2 && page.split(separator: "</script").count == 2)
            #expect(page.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) || $0 == "\n" })
        }
    }

    @Test("what needs attention comes first; each column sorts, by a link that its next click reverses")
    func sorting() throws {
        try side.push([("a", "1234567\n")], from: "z", at: ago(10))
        try side.push([("b", "1\n")], from: "y", at: ago(30))
        try side.push([("c", "123\n")], from: "x", at: ago(20))
        try fail("refused")
        let target = rows(try page())[0]
        #expect(rows(try page()) == [target, "a", "b", "c"])
        #expect(rows(try page("?sort=name")) == ["a", "b", "c", target])
        #expect(rows(try page("?sort=-name")) == [target, "c", "b", "a"])
        #expect(rows(try page("?sort=-state")) == ["a", "b", "c", target])
        #expect(rows(try page("?sort=age")) == ["a", "c", "b", target])
        #expect(rows(try page("?sort=-age")) == [target, "b", "c", "a"])
        #expect(rows(try page("?sort=size")) == [target, "b", "c", "a"])
        #expect(rows(try page("?sort=source")) == [target, "c", "b", "a"])
        #expect(rows(try page("?sort=nonsense&state=x")) == [target, "a", "b", "c"])
        let page = try page("?sort=-size")
        #expect(
            page.contains(
                "<th scope=\"col\" aria-sort=\"descending\"><a href=\"?format=html&amp;sort=size\" data-sort=\"size\">Size</a></th>"))
        #expect(page.contains("<th scope=\"col\"><a href=\"?format=html&amp;sort=-age\" data-sort=\"age\">Updated</a></th>"))
        #expect(page.contains("<th scope=\"col\"><a href=\"?format=html\" data-sort=\"state\">State</a></th>"))
    }

    @Test("ages and their order stay right when the wall clock has been set back or forward since")
    func ageAfterClockWasSet() throws {
        // Pushed so many seconds ago, on a clock that was so many seconds ahead of today's.
        for (name, seconds, ahead) in [("older", 900, -3600), ("old", 600, 3600), ("young", 10, 0)] as [(String, Int64, Int64)] {
            let push = Push(apps: [(try #require(AppName(name)), Exposition(endingInNewline: ByteBuffer(string: "a 1\n")))])
            let moment = Moment(time: ago(seconds - ahead), instant: Instant(nanoseconds: ago(seconds).nanoseconds))
            try side.store.apply(push, from: .push(listener: "l"), at: moment)
        }
        let page = try page("?sort=age")
        #expect(rows(page) == ["young", "old", "older"])
        for (seconds, ahead, text) in [(600, 3600, "10 min"), (900, -3600, "15 min"), (10, 0, "10 s")] as [(Int64, Int64, String)] {
            let (time, shown) = (ago(seconds).rfc3339, ago(seconds - ahead).tableText)
            #expect(page.contains("<time datetime=\"\(time)\" title=\"\(shown)\" data-age=\"\">\(text)</time>"), "\(page)")
        }
    }

    @Test("states are counted, and a link leads to those of one state; words are looked for in name, source, state and error")
    func filtering() throws {
        try side.push([("Alpha", "1\n"), ("beta", "2\n")])
        try fail("connection refused")
        _ = try side.target(port: 1028)
        let page = try page("?q=")
        #expect(page.contains("class=\"all\" aria-current=\"true\"><b>4</b> apps</a>"))
        #expect(page.contains("<a href=\"?format=html&amp;state=failing\" class=\"failing\"><b class=\"bad\">1</b> failing</a>"))
        #expect(page.contains("class=\"waiting\"><b class=\"soft\">1</b> waiting</a>"))
        #expect(page.contains("class=\"expired none\"><b class=\"warn\">0</b> expired</a>"))
        #expect(page.contains("class=\"ok\"><b class=\"fine\">2</b> ok</a>"))
        #expect(page.contains("<b id=\"size\">4 B</b>"))
        #expect(page.contains(">4 of 4 shown</p>"))
        #expect(rows(try self.page("?state=ok")) == ["Alpha", "beta"])
        #expect(rows(try self.page("?state=waiting")) == ["external_poll: 127.0.0.1:1028"])
        #expect(rows(try self.page("?q=ALPHA+6554")) == ["Alpha"])
        #expect(rows(try self.page("?q=refused")) == ["external_poll: 127.0.0.1:1027"])
        let pasted = try self.page("?q=alpha%09ok%1B")
        #expect(rows(pasted) == ["Alpha"] && pasted.contains("value=\"alpha ok \""))
        let none = try self.page("?q=gamma&state=ok")
        #expect(none.contains(">0 of 4 shown</p>") && none.contains("No app matches") && !none.contains("No apps"))
        // The state that is shown leads back to all.
        #expect(none.contains("href=\"?format=html&amp;q=gamma\" class=\"ok\" aria-current"))
        #expect(none.contains("href=\"?format=html&amp;q=gamma\" class=\"all\""))
        #expect(none.contains("href=\"?format=html&amp;sort=name&amp;state=ok&amp;q=gamma\""))
    }

    @Test("a query in a target's URL is not shown, and without apps the table says so")
    func origins() throws {
        #expect(try page().contains("No apps yet"))
        let url = TargetURL(origin: .https(host: "h", port: 443), pathAndQuery: "/probe?token=secret")
        side.store.register(Target(url: url, name: try #require(AppName("probe"))))
        #expect(try page().contains("<td>https://h:443/probe?…</td>"))
        #expect(try !page().contains("secret"))
        #expect(rows(try page("?q=https://h")) == ["probe"])
    }

    @Test("no page has more rows than can be read; the rest is counted")
    func limit() throws {
        try side.push((0...AppsPage.maxRows).map { ("app\($0)", "") })
        let page = try page()
        #expect(rows(page).count == AppsPage.maxRows)
        #expect(page.contains(">2000 of 2001 shown</p>"))
        try side.push([("other", "")])
        #expect(try self.page("?q=app").contains(">2000 of 2001 that match, of 2002 shown</p>"))
    }

    @Test("listeners are shown with their connections, and a certificate that ends soon is pointed out")
    func listeners() throws {
        let day: Int64 = 86_400
        let ends: [(Int64, String, String?)] = [
            (30 * day, "ends in 30 d", nil), (14 * day, "ends in 14 d", nil), (14 * day - 1, "ends in 13 d", "warn"),
            (0, "ended 0 s ago", "bad"), (-3 * 3600, "ended 3 h ago", "bad"),
        ]
        for (left, words, grade) in ends {
            side.lifecycle.status = DaemonStatus(
                startTime: ago(7200),
                listeners: [
                    .init(name: "0.0.0.0:6555", kind: .scrape, tls: "optional", openConnections: 7, certificateEnd: ago(-left)),
                    .init(name: "/run/r.sock", kind: .unix, format: .capnp, openConnections: 2),
                ])
            let page = try page()
            #expect(
                page.contains(
                    "<li><span>Scrape</span><b>0.0.0.0:6555</b><span>TLS optional · 7 open</span><span class=\"\(grade ?? "fine")\""))
            #expect(page.contains("\">certificate \(words)</span></li>"))
            #expect(page.contains("<li><span>Push over Unix socket · capnp</span><b>/run/r.sock</b><span>2 open</span></li>"))
            #expect(page.contains("version \(ProgramVersion.current) · up <time datetime=\"2022-05-22T21:51:52.939898700Z\""))
            #expect(page.contains("data-age=\"\">2 h</time></span></li></ul>"))
            let alert = grade.map { "<div id=\"alerts\"><p class=\"\($0)\">The certificate of 0.0.0.0:6555 \(words).</p></div>" }
            #expect(page.contains(alert ?? "<div id=\"alerts\"></div>"), "\(page)")
        }
    }

    @Test("the last reload is shown, and a failed one is pointed out with its error")
    func reload() throws {
        #expect(try page().contains("<b>as at the start</b>"))
        side.lifecycle.status.lastReload = .init(time: ago(180))
        let fine = try page()
        #expect(
            fine.contains(
                """
                <b>reloaded <time datetime="2022-05-22T23:48:52.939898700Z" title="2022-05-22 23:48:52.939898700 UTC" data-age=" ago">3 min ago</time></b>
                """
            ))
        #expect(fine.contains("<div id=\"alerts\"></div>"))
        side.lifecycle.status.lastReload = .init(time: ago(0), error: "config.toml:3:1: error: unknown key")
        let failed = try page()
        #expect(failed.contains("<b>reload failed <time"))
        #expect(failed.contains("; the previous configuration stays in force.</p><pre>config.toml:3:1: error: unknown key</pre>"))
    }

    @Test("it says when the program is not ready")
    func notReady() throws {
        side.lifecycle.isReady = false
        #expect(try page().contains("<div id=\"alerts\"><p class=\"warn\">Not ready: starting or stopping.</p></div>"))
    }
}
