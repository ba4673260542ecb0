import TestSupport
import Testing

/// One bad request, the status that it gets, and what its line says.
private struct BadPush: Sendable {
    var head: String
    var body = ""
    var status: Int
    var line: String
    /// Whether the connection can be used on: a request that is understood, and refused, ends nothing.
    var isKept = true
}

private let badPushes: [BadPush] = [
    BadPush(head: "PUT /apps/a", body: "a \0 1", status: 400, line: "the metrics of app \"a\" hold a NUL byte"),
    BadPush(head: "PUT /apps/a", body: "a{b=\"\u{1}\"} 1", status: 400, line: "the metrics of app \"a\" are not valid UTF-8"),
    BadPush(head: "PUT /apps/", body: "a 1", status: 400, line: "invalid app name"),
    BadPush(head: "PUT /apps/a%0Ab", body: "a 1", status: 400, line: "invalid app name"),
    BadPush(head: "PUT /apps/a%zz", body: "a 1", status: 400, line: "a % in the request target"),
    BadPush(head: "PUT /apps/" + String(repeating: "a", count: 257), body: "a 1", status: 400, line: "invalid app name"),
    BadPush(head: "POST /apps", status: 400, line: "malformed JSON: the body is empty"),
    BadPush(head: "POST /apps", body: "a 1", status: 400, line: "malformed JSON: found 'a'"),
    BadPush(head: "POST /apps", body: "{\"a\": \"b 1\"", status: 400, line: "malformed JSON: the body ends within an object"),
    BadPush(head: "GET /apps/a", status: 405, line: "method not allowed: this path takes PUT, DELETE"),
    BadPush(head: "GET /apps", status: 405, line: "method not allowed: this path takes POST"),
    BadPush(head: "GET /metrics/job/a", status: 405, line: "method not allowed: this path takes PUT, POST, DELETE"),
    BadPush(head: "POST /", body: "a", status: 405, line: "method not allowed: this path takes GET, HEAD"),
    BadPush(head: "GET /metrics", status: 404, line: "nothing here"),
    BadPush(head: "PUT /metrics/instance/a", body: "a 1", status: 404, line: "nothing here"),
    BadPush(head: "PUT /apps/a\r\nContent-Encoding: br", body: "a", status: 415, line: "unsupported Content-Encoding \"br\""),
    BadPush(head: "PUT /apps/a\r\nContent-Encoding: gzip", body: "a 1", status: 400, line: "the body is not valid gzip"),
    BadPush(
        head: "PUT /apps/a\r\nContent-Type: application/openmetrics-text; version=1.0.0", status: 415, line: "unsupported Content-Type"),
    BadPush(
        head: "PUT /apps/a\r\nContent-Type: Application/JSON", body: "{}", status: 415,
        line: "unsupported Content-Type \"Application/JSON\""),
    BadPush(
        head: "PUT /metrics/job/a\r\nContent-Type: application/vnd.google.protobuf; encoding=text", status: 415,
        line: "unsupported Content-Type"),
    BadPush(head: "POST /apps\r\nContent-Type: application/openmetrics-text", body: "{}", status: 415, line: "unsupported Content-Type"),
    BadPush(head: "PUT /metrics/job/", body: "a 1\n", status: 400, line: "job name is required"),
    BadPush(head: "PUT /metrics/job/a/b", body: "a 1\n", status: 400, line: "odd number of parts"),
    BadPush(head: "PUT /metrics/job/a/__b/c", body: "a 1\n", status: 400, line: "'__b' is not a label name"),
    BadPush(head: "PUT /metrics/job@base64/!!", body: "a 1\n", status: 400, line: "the value of 'job@base64' is not base64url"),
    BadPush(
        head: "PUT /metrics/job/" + String(repeating: "a", count: 253), body: "a 1\n", status: 400,
        line: "the group's name would be longer than 256 bytes"),
    BadPush(head: "PUT /metrics/job/kept", body: "a 1 5\n", status: 400, line: "pushed metrics are invalid or inconsistent"),
    BadPush(head: "PUT /metrics/job/kept", body: "a 1\na 2\n", status: 400, line: "pushed metrics are invalid or inconsistent"),
    BadPush(head: "PUT /metrics/job/kept", body: "a b\n", status: 400, line: "text format parsing error in line 1"),
    BadPush(head: "PUT /apps/a\r\nOrigin: http://evil.example", body: "a 1", status: 403, line: "forbidden"),
    BadPush(head: "DELETE /apps/a\r\nSec-Fetch-Site: cross-site", status: 403, line: "forbidden"),
    BadPush(head: "DELETE /apps/none", status: 404, line: "no pushed app of this name"),
    BadPush(
        head: "PUT /apps/a\r\nTransfer-Encoding: chunked", body: "3\r\na 1\r\n0\r\n\r\n", status: 400,
        line: "both Transfer-Encoding and Content-Length", isKept: false),
    BadPush(head: "PUT /apps/a\r\nContent-Length: 5", body: "a 1", status: 400, line: "more than one Content-Length", isKept: false),
    BadPush(head: "PUT /apps/a\r\nTransfer-Encoding: gzip", body: "a 1", status: 501, line: "unsupported Transfer-Encoding", isKept: false),
    BadPush(head: "PUT /apps/a\r\nExpect: other", body: "a 1", status: 417, line: "unknown expectation", isKept: false),
]

@Test("every bad push gets its status and one line, the connection goes on or ends, and nothing stored changes")
func badPushesAreRefused() async throws {
    try await withProxy(Configurations.scrape + "self_metrics = false\n" + Configurations.httpReceiver()) { proxy in
        #expect(try await curl("http://\(proxy.pushes)/apps/a", ["-X", "PUT", "-d", "kept 1"]).status == 204)
        for bad in badPushes {
            let connection = try RawConnection(to: proxy.pushes)
            var head = bad.head.split(separator: "\r\n").map(String.init)
            head[0] += " HTTP/1.1"
            head += ["Host: a", "Content-Length: \(bad.body.utf8.count)"]
            // \u{1} stands for a byte that no UTF-8 text has.
            try connection.send(bytes: Array((head.joined(separator: "\r\n") + "\r\n\r\n" + bad.body).utf8).map { $0 == 1 ? 0xFF : $0 })
            let answer = try await connection.response()
            #expect(answer.status == bad.status, "\(bad.head)")
            #expect(answer.body.hasPrefix("error: \(bad.line)"), "\(bad.head): \(answer.body)")
            #expect(answer.body.hasSuffix("\n") && answer.body.count { $0 == "\n" } == 1, "\(bad.head): \(answer.body)")
            #expect(answer.head.contains("Connection: close") == !bad.isKept, "\(bad.head)")
            if bad.status == 405 {
                #expect(answer.head.contains("Allow: \(bad.line.split(separator: " takes ").last ?? "")"), "\(bad.head)")
            }
            if bad.isKept {
                #expect(try await connection.get("/-/healthy").status == 200, "\(bad.head)")
            } else {
                #expect(try await connection.receiveToEnd() == "", "\(bad.head)")
            }
        }
        #expect(try await curl("http://\(proxy.scrape)/metrics").body == "kept 1\n")
    }
}

@Test("a body that ends early is refused and not applied, a byte that is too much begins the next request")
func bodiesThatLie() async throws {
    try await withProxy(Configurations.scrape + Configurations.httpReceiver()) { proxy in
        for head in ["", "Content-Length: 9\r\n\r\na 1", "Transfer-Encoding: chunked\r\n\r\n9\r\na 1"] {
            let connection = try RawConnection(to: proxy.pushes)
            try connection.send("PUT /apps/a HTTP/1.1\r\nHost: a\r\n\(head)")
            connection.endOutput()
            let answer = try await connection.response()
            #expect(answer.status == 400)
            #expect(answer.body == "error: the connection ended within a message: nothing of that message was applied\n")
        }
        let connection = try RawConnection(to: proxy.pushes)
        try connection.send("PUT /apps/a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na 1")
        #expect(try await connection.response().status == 204)
        try connection.send(" \r\n\r\n")
        #expect(try await connection.response().status == 400)
        #expect(try await connection.receiveToEnd() == "")
        #expect(try await curl("http://\(proxy.scrape)/metrics?app=a").body == "a \n")
    }
}

@Test("a full store refuses with 507 and keeps what it had")
func aFullStoreRefuses() async throws {
    try await withProxy(Configurations.scrape + Configurations.httpReceiver("max_apps = 1\nmax_total_size = 600")) { proxy in
        func put(_ path: String, _ text: String) async throws -> HTTPAnswer {
            try await curl("http://\(proxy.pushes)\(path)", ["-X", "PUT", "--data-binary", text])
        }
        #expect(try await put("/metrics/job/a", "a 1\n").status == 200)
        let second = try await put("/apps/b", "b 1")
        #expect(second.status == 507)
        #expect(second.body.hasPrefix("error: the store already holds max_apps apps (1)"))
        // A refused push sets the group's failure time, although the store is full.
        let large = try await put("/metrics/job/a", "b{l=\"\(String(repeating: "x", count: 600))\"} 1\n")
        #expect(large.status == 507)
        #expect(large.body.hasPrefix("error: the store would hold more than max_total_size (600 bytes)"))
        let text = try await curl("http://\(proxy.scrape)/metrics?app=job/a").body
        #expect(text.contains("a{instance=\"\",job=\"a\"} 1\n"))
        #expect(text.contains(#/push_failure_time_seconds\{instance="",job="a"\} [1-9]/#))
    }
}
