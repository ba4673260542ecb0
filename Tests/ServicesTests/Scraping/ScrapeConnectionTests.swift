import NIOCore
import TestSupport
import Testing

@testable import Services

@Suite("Scrape connections")
struct ScrapeConnectionTests {
    private static let get = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"
    private static let large = String(repeating: "metric_with_a_long_name{label=\"value\"} 12345\n", count: 400_000)

    @Test("a connection is kept, and answers one request after another")
    func keepAlive() async throws {
        try await withScrapeServer { server in
            try server.push("a", "a 1")
            let connection = try await server.connect()
            for count in 1...5 {
                try await connection.send(Self.get)
                try await connection.until("\r\n\r\na 1\n", times: count)
            }
            #expect(!connection.text.contains("Connection:"))
            #expect(server.listener.listener.openConnections == 1)
            await connection.close()
        }
    }

    @Test("requests that come together are answered in order, also when the client ends its side at once")
    func pipelining() async throws {
        try await withScrapeServer { server in
            try server.push("a", "a 1")
            let answer = try await server.exchange(
                "GET /-/healthy HTTP/1.1\r\nHost: h\r\n\r\nGET /nosuch HTTP/1.1\r\nHost: h\r\n\r\nHEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n\(Self.get)"
            )
            let statuses = answer.matches(of: #/HTTP/1.1 (\d+)/#).map { String($0.1) }
            #expect(statuses == ["200", "404", "200", "200"])
            #expect(answer.hasSuffix("\r\n\r\na 1\n"))
        }
    }

    @Test("a large answer, then another request that waited")
    func pipelinedLarge() async throws {
        try await withScrapeServer { server in
            try server.push("a", Self.large)
            let answer = try await server.exchange(Self.get + "GET /-/healthy HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.hasSuffix("exporter-proxy is healthy\n"))
            #expect(answer.utf8.count > Self.large.utf8.count)
            #expect(answer.contains("\r\n\r\n" + Self.large.prefix(1000)))
        }
    }

    @Test("HTTP/1.0 gets an answer and the end, unless it asks for more")
    func http10() async throws {
        try await withScrapeServer { server in
            try server.push("a", "a 1")
            let answer = try await server.exchange("GET /metrics HTTP/1.0\r\n\r\n", endSending: false)
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.hasSuffix("\r\n\r\na 1\n"))
            #expect(answer.contains("\r\nConnection: close\r\n"))

            let connection = try await server.connect()
            for count in 1...2 {
                try await connection.send("GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                try await connection.until("Connection: keep-alive\r\n", times: count)
            }
            #expect(!connection.hasEnded)
            await connection.close()
        }
    }

    @Test("Connection: close is heeded and said")
    func close() async throws {
        try await withScrapeServer { server in
            let answer = try await server.exchange("GET /-/healthy HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", endSending: false)
            #expect(answer.contains("\r\nConnection: close\r\n"))
        }
    }

    @Test("bytes that come while the last answer is sent destroy nothing of it")
    func bytesWhileAnswering() async throws {
        try await withScrapeServer { server in
            try server.push("a", Self.large)
            let connection = try await server.connect(reads: false)
            try await connection.send("GET /metrics HTTP/1.0\r\n\r\n")
            try await wait(for: "the beginning of the answer") {
                connection.readSome()
                return !connection.bytes.isEmpty
            }
            try await connection.send("\r\n")
            try await wait(for: "the end of the connection") {
                connection.readSome()
                return connection.hasEnded
            }
            #expect(connection.error == nil)
            #expect(connection.bytes.count > Self.large.utf8.count)
            await connection.close()
        }
    }

    @Test("after a request that makes no sense the answer is read, then the connection ends")
    func malformed() async throws {
        try await withScrapeServer { server in
            // Much more than was asked for follows: a reset must not eat the answer.
            let connection = try await server.connect()
            try await connection.send("POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n")
            try await connection.send(String(repeating: "x", count: 500_000))
            let answer = try await connection.untilEnd()
            #expect(answer.hasPrefix("HTTP/1.1 413 "))
            #expect(connection.error == nil)
            await connection.close()

            let next = try await server.exchange("nonsense\r\n\r\n\(Self.get)", endSending: false)
            #expect(next.hasPrefix("HTTP/1.1 400 "))
            #expect(next.ranges(of: "HTTP/1.1").count == 1)
        }
    }

    @Test("after a request without Host no further one is trusted")
    func missingHost() async throws {
        try await withScrapeServer { server in
            let answer = try await server.exchange("GET /metrics HTTP/1.1\r\n\r\nGET /-/healthy HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.matches(of: #/HTTP/1.1 (\d+)/#).map { String($0.1) } == ["400"])
        }
    }

    @Test("Expect: 100-continue is answered before the body, and not when the body is there")
    func expectContinue() async throws {
        try await withScrapeServer { server in
            let connection = try await server.connect()
            let head = "POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            try await connection.send(head)
            try await connection.until("HTTP/1.1 100 Continue\r\n\r\n")
            #expect(!connection.text.contains("405"))
            try await connection.send("abc")
            try await connection.until("HTTP/1.1 405 ")
            await connection.close()
            #expect(try await !server.exchange(head + "abc").contains("100 Continue"))
        }
    }

    // MARK: Limits

    @Test("beyond max_connections new ones are closed at once, until one ends")
    func maxConnections() async throws {
        try await withScrapeServer(maxConnections: 2) { server in
            let first = try await server.connect()
            let second = try await server.connect()
            for connection in [first, second] {
                try await connection.send(Self.get)
                try await connection.until("200 OK")
            }
            let third = try await server.connect()
            try await third.untilEnd()
            #expect(third.text == "")
            await third.close()
            await first.close()
            try await wait(for: "room for another") { server.listener.listener.openConnections == 1 }
            let fourth = try await server.connect()
            try await fourth.send(Self.get)
            try await fourth.until("200 OK")
            for connection in [second, fourth] { await connection.close() }
        }
    }

    @Test("a drain lets an answer on its way finish and closes idle connections")
    func drain() async throws {
        try await withScrapeServer { server in
            try server.push("a", Self.large)
            let idle = try await server.connect()
            try await idle.send("GET /-/healthy HTTP/1.1\r\nHost: h\r\n\r\n")
            try await idle.until("healthy\n")
            let busy = try await server.connect(reads: false)
            try await busy.send(Self.get)
            try await wait(for: "the beginning of the answer") {
                busy.readSome()
                return !busy.bytes.isEmpty
            }
            async let cut = server.listener.listener.drain(within: .seconds(60))
            try await idle.untilEnd()
            let length = Self.large.utf8.count
            try await wait(for: "the whole answer") {
                busy.readSome()
                return busy.bytes.count >= length
            }
            await busy.close()
            #expect(await cut == 0)
            await idle.close()
        }
    }
}
