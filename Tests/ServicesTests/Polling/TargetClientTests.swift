import Dispatch
import Foundation
import NIOCore
import Proxy
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("TargetClient")
struct TargetClientTests {
    /// What one poll of a target that answers so comes to.
    private func poll(
        timeout: Duration = .seconds(20), limit: ByteCount = .mebibytes(1), _ steps: HTTPTarget.Step...
    ) async throws -> Result<String, PollFailure> {
        let server = try await HTTPTarget.start { [steps] _ in steps }
        let target = try Target(port: server.port, timeout: timeout).with { $0.bodySizeLimit = limit }
        let client = try await TestClient(PolledTarget(target: target, tls: nil, version: "test"))
        let result = try await client.fetch()
        try await client.stop()
        #expect(client.held == 0)
        await server.stop()
        return result.map { String(buffer: $0.buffer) }
    }

    @Test("a name that is found after the target has gone opens no connection")
    func stoppedWhileConnecting() async throws {
        final class Lookup: Sendable {
            let hasBegun = Atomic(false)
            let mayEnd = DispatchSemaphore(value: 0)
        }
        let lookup = Lookup()
        let resolver = HostResolver { _ in
            lookup.hasBegun.store(true, ordering: .relaxed)
            lookup.mayEnd.wait()
            return Result { () throws(HostResolver.LookupError) in
                guard let address = try? SocketAddress(ipAddress: "127.0.0.1", port: 0) else { throw HostResolver.LookupError(reason: "") }
                return HostResolver.Addresses(v4: [address])
            }
        }
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            let url = TargetURL(origin: .http(host: "target.test", port: server.port), pathAndQuery: "/")
            let target = Target(url: url, name: try AppName.named("a"), interval: .seconds(60), timeout: .seconds(60))
            let shared = try await SharedContext()
            let client = try await TestClient(PolledTarget(target: target, tls: nil, version: "test"), in: shared, resolver: resolver)
            let poll = Task { try await client.fetch() }
            try await wait(for: "the lookup to begin") { lookup.hasBegun.load(ordering: .relaxed) }
            try await client.stop()
            // It shares the lookup, and gets the answer after the client.
            let answer = resolver.resolve("target.test", on: shared.eventLoop, until: .now() + .minutes(5))
            lookup.mayEnd.signal()
            _ = try await answer.get()
            // An earlier connection would be accepted before this one.
            try await withClient(Target(port: server.port)) { try await $0.expect(text: "a 1\n") }
            #expect(server.connections == 1)
            await #expect(throws: CancellationError.self) { try await poll.value }
        }
    }

    // MARK: Bodies

    @Test("a body with its length")
    func plain() async throws {
        #expect(try await poll(.respond("a 1\n")) == .success("a 1\n"))
    }

    @Test("an empty body is a success without metrics")
    func empty() async throws {
        #expect(try await poll(.respond("")) == .success(""))
    }

    @Test("a chunked body, in pieces, with trailers")
    func chunked() async throws {
        let result = try await poll(
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1"), .wait(.milliseconds(20)),
            .send("\n\r\n4;x=y\r\nb 2\n\r\n0\r\nT: u\r\n\r\n"))
        #expect(result == .success("a 1\nb 2\n"))
    }

    @Test("HTTP/1.0: the end of the connection is the end of the body")
    func http10() async throws {
        #expect(try await poll(.send("HTTP/1.0 200 OK\r\n\r\na 1\nb 2"), .close) == .success("a 1\nb 2\n"))
    }

    @Test("a head and a body that trickle in byte by byte")
    func trickle() async throws {
        var server: [HTTPTarget.Step] = []
        for byte in "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n".utf8 { server += [.send([byte]), .wait(.milliseconds(1))] }
        let steps = server
        try await HTTPTarget.with(answer: { _ in steps }) { server in
            try await withClient(Target(port: server.port)) { try await $0.expect(text: "a 1\n") }
        }
    }

    @Test("a large body comes whole")
    func large() async throws {
        let line = "metric_with_a_long_name{label=\"value\"} 12345\n"
        let body = String(repeating: line, count: 20_000)
        #expect(try await poll(.respond(body)) == .success(body))
    }

    @Test("a large body without a length comes whole")
    func largeChunks() async throws {
        let chunk = String(repeating: "a 1\n", count: 16 << 10)
        let steps = (0..<8).map { _ in HTTPTarget.Step.send("10000\r\n\(chunk)\r\n") }
        let all = [HTTPTarget.Step.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")] + steps + [.send("0\r\n\r\n")]
        try await HTTPTarget.with(answer: { _ in all }) { server in
            try await withClient(Target(port: server.port)) {
                try await $0.expect(text: String(repeating: chunk, count: 8))
            }
        }
    }

    // MARK: Limits

    @Test("a body at the limit passes, one past it does not: with its length, in chunks, and to the end of the connection")
    func limits() async throws {
        let limit = ByteCount(10)
        let failure = Result<String, PollFailure>.failure(.bodyTooLarge(limit: limit))
        #expect(try await poll(limit: limit, .respond("123456789\n")) == .success("123456789\n"))
        #expect(try await poll(limit: limit, .respond("1234567890\n")) == failure)
        let chunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(
            try await poll(limit: limit, .send(chunkedHead + "6\r\n12345\n\r\n4\r\n789\n\r\n0\r\n\r\n")) == .success("12345\n789\n"))
        #expect(try await poll(limit: limit, .send(chunkedHead + "6\r\n12345\n\r\n5\r\n7890\n\r\n0\r\n\r\n")) == failure)
        #expect(try await poll(limit: limit, .send("HTTP/1.0 200 OK\r\n\r\n123456789\n"), .close) == .success("123456789\n"))
        #expect(try await poll(limit: limit, .send("HTTP/1.0 200 OK\r\n\r\n1234567890\n"), .close) == failure)
    }

    @Test("a length over the limit is refused before any of the body comes")
    func lengthOverLimit() async throws {
        let result = try await poll(limit: ByteCount(10), .send("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"))
        #expect(result == .failure(.bodyTooLarge(limit: ByteCount(10))))
    }

    @Test("a head that never ends is refused", arguments: ["X: y\r\n", "x"])
    func endlessHead(piece: String) async throws {
        let start = piece == "x" ? "HTTP/1.1 200 " : "HTTP/1.1 200 OK\r\n"
        let result = try await poll(.send(start + String(repeating: piece, count: (70 << 10) / piece.utf8.count)))
        #expect(result == .failure(.headTooLarge(limit: .kibibytes(64))))
    }

    @Test("informational responses are passed over, up to a number")
    func informational() async throws {
        let one = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        #expect(try await poll(.send(String(repeating: one, count: 16)), .respond("a 1\n")) == .success("a 1\n"))
        #expect(
            try await poll(.send(String(repeating: one, count: 17)), .respond("a 1\n")) == .failure(.tooManyInformationalResponses))
    }

    // MARK: Cut short

    @Test("a body shorter than its length is incomplete")
    func shortBody() async throws {
        let result = try await poll(.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na 1\n"), .close)
        #expect(result == .failure(.incompleteBody(received: 4, expected: 10)))
    }

    @Test("chunks without the last one are incomplete")
    func missingChunk() async throws {
        let result = try await poll(.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n"), .close)
        #expect(result == .failure(.incompleteBody(received: 4, expected: nil)))
    }

    @Test("a connection that closes before the response is a failure", arguments: ["", "HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\nX: y\r\n"])
    func noResponse(sent: String) async throws {
        let result = try await poll(.send(sent), .close)
        #expect(result == .failure(.connectionEnded(.awaitingHead, reason: nil)))
    }

    @Test(
        "what is not HTTP says so", arguments: ["SSH-2.0-OpenSSH_9.2\r\n", "a 1\nb 2\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 xyz\r\n\r\n"])
    func garbage(sent: String) async throws {
        guard case .failure(.notHTTP) = try await poll(.send(sent)) else {
            Issue.record("not refused")
            return
        }
    }

    // MARK: Deadlines

    @Test("a target that never answers times out")
    func hangs() async throws {
        #expect(try await poll(timeout: .seconds(6)) == .failure(.timedOut(after: .seconds(6), .awaitingHead)))
    }

    @Test("a target that stops within the head, or the body, times out")
    func stops() async throws {
        #expect(
            try await poll(timeout: .seconds(6), .send("HTTP/1.1 200 OK\r\n"))
                == .failure(.timedOut(after: .seconds(6), .awaitingHead)))
        #expect(
            try await poll(timeout: .seconds(6), .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n"))
                == .failure(.timedOut(after: .seconds(6), .readingBody)))
    }

    @Test("the deadline is for the whole exchange: bytes that trickle do not prolong it")
    func tricklesForever() async throws {
        let steps = (0..<1000).flatMap { _ in [HTTPTarget.Step.send("a 1\n"), .wait(.milliseconds(20))] }
        let all = [HTTPTarget.Step.send("HTTP/1.1 200 OK\r\n\r\n")] + steps
        try await HTTPTarget.with(answer: { _ in all }) { server in
            let target = try Target(port: server.port, timeout: .seconds(6))
            try await withClient(target) { client in
                let failure = try await client.failure()
                #expect(failure == "timed out after 6s while reading the body")
                try await eventually { server.openConnections == 0 }
            }
        }
    }

    @Test("after a time-out the next poll uses a new connection")
    func afterTimeout() async throws {
        try await HTTPTarget.with(answer: { $0.connection == 0 ? [] : [.respond("a 1\n")] }) { server in
            try await withClient(Target(port: server.port, timeout: .seconds(6))) { client in
                try await client.expect(failure: "timed out after 6s while waiting for the response head")
                try await client.expect(text: "a 1\n")
                #expect(server.connections == 2)
            }
        }
    }

    // MARK: Connections

    @Test("polls share a connection")
    func keepAlive() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            try await withClient(Target(port: server.port)) { client in
                for _ in 0..<5 { try await client.expect(text: "a 1\n") }
            }
            #expect(server.connections == 1)
            #expect(server.requests.count == 5)
        }
    }

    @Test("a failing status keeps the connection too")
    func keepAliveAfterFailure() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("sorry", status: "503 Service Unavailable")] }) { server in
            try await withClient(Target(port: server.port)) { client in
                for _ in 0..<3 { try await client.expect(failure: "status 503 Service Unavailable") }
            }
            #expect(server.connections == 1)
        }
    }

    @Test("a failing status counts although its body is large, or never ends")
    func failureWithBody() async throws {
        let status = Result<String, PollFailure>.failure(.status(500, reason: "X", note: nil))
        #expect(try await poll(.respond(String(repeating: "x", count: 200_000), status: "500 X")) == status)
        #expect(
            try await poll(timeout: .seconds(6), .send("HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\nab")) == status)
        #expect(try await poll(.send("HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\nab"), .close) == status)
    }

    @Test("Connection: close and HTTP/1.0 end the connection", arguments: ["HTTP/1.1 200 OK\r\nConnection: close", "HTTP/1.0 200 OK"])
    func noKeepAlive(head: String) async throws {
        try await HTTPTarget.with(answer: { _ in [.send("\(head)\r\nContent-Length: 4\r\n\r\na 1\n")] }) { server in
            try await withClient(Target(port: server.port)) { client in
                for _ in 0..<3 { try await client.expect(text: "a 1\n") }
            }
            #expect(server.connections == 3)
        }
    }

    @Test("a kept connection that the target has closed meanwhile is no failure")
    func closedMeanwhile() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            try await withClient(Target(port: server.port)) { client in
                try await client.expect(text: "a 1\n")
                await server.closeConnections()
                try await client.expect(text: "a 1\n")
            }
            #expect(server.connections == 2)
        }
    }

    @Test("a kept connection that closes on the request is tried once more, on a new one")
    func closesOnRequest() async throws {
        let polls = Counter()
        try await HTTPTarget.with(answer: { request in
            request.connection == 0 && polls.next() > 0 ? [.close] : [.respond("a 1\n")]
        }) { server in
            try await withClient(Target(port: server.port)) { client in
                try await client.expect(text: "a 1\n")
                try await client.expect(text: "a 1\n")
            }
            #expect(server.requests.count == 3)
            #expect(server.connections == 2)
        }
    }

    @Test("but once only, and not when a part of the response came", arguments: ["", "HTTP/1.1 2"])
    func closesAlways(sent: String) async throws {
        let polls = Counter()
        try await HTTPTarget.with(answer: { _ in polls.next() == 0 ? [.respond("a 1\n")] : [.send(sent), .close] }) { server in
            try await withClient(Target(port: server.port)) { client in
                try await client.expect(text: "a 1\n")
                try await client.expect(failure: "connection closed by the target while waiting for the response head")
            }
            #expect(server.requests.count == (sent.isEmpty ? 3 : 2))
        }
    }

    @Test("keep_alive = false takes a new connection for each poll, and asks for its end")
    func keepAliveOff() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            let target = try Target(port: server.port).with { $0.keepAlive = false }
            try await withClient(target) { client in
                for _ in 0..<3 { try await client.expect(text: "a 1\n") }
            }
            #expect(server.connections == 3)
            #expect(server.requests.allSatisfy { $0.headers["connection"] == "close" })
            try await eventually { server.openConnections == 0 }
        }
    }

    @Test("what comes unasked on a kept connection closes it, and harms no poll")
    func unasked() async throws {
        try await HTTPTarget.with(answer: { $0.connection == 0 ? [.respond("a 1\n"), .respond("forged 1\n")] : [.respond("a 2\n")] }) {
            server in
            try await withClient(Target(port: server.port)) { client in
                try await client.expect(text: "a 1\n")
                try await eventually { server.openConnections == 0 }
                try await client.expect(text: "a 2\n")
            }
        }
    }

    @Test("a stopped client leaves no connection behind")
    func stops2() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            try await withClient(Target(port: server.port)) { _ = try await $0.text() }
            try await eventually { server.openConnections == 0 }
        }
    }

    // MARK: Connecting

    @Test("connection refused where no socket listens")
    func refused() async throws {
        let port = try reservePort()
        try await withClient(Target(port: port)) { try await $0.expect(failure: "connection refused") }
    }

    @Test("a host name is looked up, and its addresses are tried in turn")
    func hostName() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            let target = try Target(port: server.port).with { $0.url.origin = .http(host: "localhost", port: server.port) }
            try await withClient(target) { try await $0.expect(text: "a 1\n") }
            #expect(server.requests.first?.headers["host"] == "localhost:\(server.port)")
        }
    }

    @Test("of many addresses, each poll tries the next two, and those that work are tried again")
    func manyAddresses() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("a 1\n")] }) { server in
            func addresses(_ last: Int...) throws -> HostResolver.Addresses {
                HostResolver.Addresses(v4: try last.map { try SocketAddress(ipAddress: "127.0.0.\($0)", port: 0) })
            }
            // The server is at the first address of this host only.
            let current = Mutex(try addresses(2, 3, 4, 5, 1))
            let resolver = HostResolver { _ in .success(current.withLock { $0 }) }
            let target = try Target(port: server.port).with {
                $0.url.origin = .http(host: "many.test", port: server.port)
                $0.keepAlive = false
            }
            try await withClient(target, resolver: resolver) { client in
                try await client.expect(failure: "connection refused")
                try await client.expect(failure: "connection refused")
                for _ in 0..<3 { try await client.expect(text: "a 1\n") }
                // After the last one comes the first again.
                let others = try addresses(2, 1, 3, 4, 5)
                current.withLock { $0 = others }
                try await client.expect(failure: "connection refused")
                try await client.expect(text: "a 1\n")
            }
            #expect(server.connections == 4)
        }
    }

    @Test("an unknown host name is named as such")
    func unknownHost() async throws {
        let resolver = HostResolver { _ in .failure(.init(reason: "name or service not known")) }
        let target = try Target(port: 80).with { $0.url.origin = .http(host: "nowhere.invalid", port: 80) }
        try await withClient(target, resolver: resolver) {
            try await $0.expect(failure: "could not resolve host nowhere.invalid: name or service not known")
        }
    }

    @Test("a name server that does not answer is a time-out that says so")
    func slowName() async throws {
        let release = DispatchSemaphore(value: 0)
        let resolver = HostResolver { _ in
            release.wait()
            return .failure(.init(reason: "late"))
        }
        let target = try Target(port: 80, timeout: .milliseconds(100)).with { $0.url.origin = .http(host: "slow.invalid", port: 80) }
        try await withClient(target, resolver: resolver) {
            try await $0.expect(failure: "timed out after 0.1s while resolving the host name")
            try await $0.expect(failure: "timed out after 0.1s while resolving the host name")
        }
        release.signal()
    }

    @Test("a Unix socket")
    func unix() async throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("poll-\(UUID().uuidString.prefix(8)).sock").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await HTTPTarget.with(unixSocket: path, answer: { _ in [.respond("a 1\n")] }) { server in
            let target = try Target(port: 1).with { $0.url.origin = .unix(path: path) }
            try await withClient(target) { try await $0.expect(text: "a 1\n") }
            #expect(server.requests.first?.headers["host"] == "localhost")
        }
        let target = try Target(port: 1).with { $0.url.origin = .unix(path: path + ".missing") }
        try await withClient(target) { try await $0.expect(failure: "could not connect: no such file or directory") }
        let long = try Target(port: 1).with { $0.url.origin = .unix(path: "/" + String(repeating: "x", count: 200)) }
        try await withClient(long) { client in
            let failure = try await client.failure()
            #expect(failure?.hasPrefix("could not connect: ") == true)
        }
    }

    // MARK: What is held

    @Test("a body beyond max_inflight_size fails the poll that asks for it, and is given back")
    func inflight() async throws {
        let body = String(repeating: "metric_with_a_long_name{label=\"value\"} 12345\n", count: 4000)
        try await HTTPTarget.with(answer: { _ in [.respond(body)] }) { server in
            try await withClient(Target(port: server.port), budget: ByteBudget(limit: .kibibytes(64))) { client in
                try await client.expect(
                    failure: "the bodies being read together need more than poll_external.max_inflight_size (65536 bytes)")
                #expect(client.held == 0)
            }
            try await withClient(Target(port: server.port), budget: ByteBudget(limit: .kibibytes(256))) { client in
                try await client.expect(text: body)
                #expect(client.held == 0)
            }
        }
    }

    @Test(
        "an answer in several packets is taken although large bodies have used up max_inflight_size",
        arguments: [
            ["HTTP/1.1 200 OK\r\nContent-", "Length: 4\r\n\r\na 1\n"],
            ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4", "\r\na 1\n\r\n0\r\n\r\n"],
        ])
    func smallInflight(packets: [String]) async throws {
        let budget = ByteBudget(limit: .kibibytes(64))
        #expect(budget.reserve(64 << 10))
        try await HTTPTarget.with(answer: { _ in [.send(packets[0]), .wait(.milliseconds(50)), .send(packets[1])] }) { server in
            try await withClient(Target(port: server.port), budget: budget) { try await $0.expect(text: "a 1\n") }
        }
        try await wait(for: "the bytes to be given back") { budget.used == 64 << 10 }
    }

    @Test(
        "an answer that ends early gives back what was read of it",
        arguments: [
            "HTTP/1.1 200 OK\r\nX-Cut: within the head", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n",
        ])
    func cut(beginning: String) async throws {
        try await HTTPTarget.with(answer: { _ in [.send(beginning), .wait(.milliseconds(50)), .close] }) { server in
            try await withClient(Target(port: server.port)) { client in
                #expect(try await client.failure() != nil)
                try await wait(for: "the bytes to be given back") { client.held == 0 }
            }
        }
        // A poll that times out ends its connection itself.
        try await HTTPTarget.with(answer: { _ in [.send(beginning)] }) { server in
            try await withClient(Target(port: server.port, timeout: .milliseconds(200))) { client in
                #expect(try await client.failure() != nil)
                try await wait(for: "the bytes to be given back") { client.held == 0 }
            }
        }
    }

    // MARK: What is refused

    @Test("OpenMetrics, NUL and what is not UTF-8 are failures that say so")
    func content() async throws {
        #expect(try await poll(.respond("a 1\n# EOF\n", type: "application/openmetrics-text; version=1.0.0")) == .failure(.openMetrics))
        #expect(try await poll(.respond("a 1\0\n")) == .failure(.nulByte))
        #expect(try await poll(.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), .send([0xFF, 0x0A])) == .failure(.invalidUTF8))
        #expect(try await poll(.respond("", headers: "Content-Encoding: br\r\n")) == .failure(.contentEncoding("br")))
    }

    @Test("the request asks for text and gzip, and tells the time it has")
    func request() async throws {
        try await HTTPTarget.with(answer: { _ in [.respond("")] }) { server in
            try await withClient(Target(port: server.port, path: "/m?x=y")) { _ = try await $0.text() }
            let request = try #require(server.requests.first)
            #expect(request.line == "GET /m?x=y HTTP/1.1")
            #expect(request.headers["accept"] == "text/plain;version=0.0.4;q=1,*/*;q=0.1")
            #expect(request.headers["accept-encoding"] == "gzip")
            #expect(request.headers["user-agent"] == "exporter-proxy/test")
            #expect(request.headers["x-prometheus-scrape-timeout-seconds"] == "20")
        }
    }
}

/// Counts from 0.
final class Counter: Sendable {
    private let lock = NSLock()
    nonisolated(unsafe) private var value = 0  // Only under the lock.

    func next() -> Int {
        lock.withLock {
            defer { value += 1 }
            return value
        }
    }
}
