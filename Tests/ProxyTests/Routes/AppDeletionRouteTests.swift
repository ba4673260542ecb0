import NIOCore
import Testing

@testable import Proxy

@Suite("DELETE /apps/NAME")
struct AppDeletionRouteTests {
    private let side = ScrapeSide()

    private func names() throws -> [String] { side.store.snapshot(at: side.now).entries.map(\.name.description) }

    @Test(
        "an app is forgotten with its metrics, whatever its name",
        arguments: [
            ("/apps/app", "app"), ("/apps/a%2Fb", "a/b"), ("/apps/a/b", "a/b"), ("/apps/external_poll:%20x", "external_poll: x"),
            ("/apps/%25", "%"), ("/apps/a+b", "a+b"), ("/apps/%2F", "/"), ("/apps/gr%C3%B6%C3%9Fe", "größe"), ("/apps/%2E%2E", ".."),
            ("/apps/a%3Fb", "a?b"), ("/apps/%20", " "), ("/apps/\(String(repeating: "n", count: 256))", String(repeating: "n", count: 256)),
        ])
    func deletes(target: String, name: String) throws {
        side.lifecycle.isEnabled = true
        try side.push([(name, "gone 1\n"), ("other", "stays 1\n")])
        let answer = try side.send("DELETE", target)
        #expect(answer.status == 204)
        #expect(answer.bytes.isEmpty && answer.headers.isEmpty)
        #expect(try names() == ["other"])
        #expect(try side.send("GET", "/metrics").text == "stays 1\n")
        #expect(try side.send("DELETE", target).status == 404)
        try side.push([(name, "again 1\n")])
        #expect(try names().contains(name))
    }

    @Test("an app that is not there answers 404", arguments: ["/apps/nobody", "/apps/App", "/apps/app/", "/apps//app"])
    func unknown(target: String) throws {
        side.lifecycle.isEnabled = true
        try side.push([("app", "a 1\n")])
        #expect(try side.send("DELETE", target).status == 404)
        #expect(try names() == ["app"])
    }

    @Test(
        "without a name, or with one that no app can have, the path is unknown",
        arguments: ["/apps/", "/apps/%0A", "/apps/\(String(repeating: "n", count: 257))"])
    func noName(target: String) throws {
        side.lifecycle.isEnabled = true
        let answer = try side.send("DELETE", target)
        #expect(answer.status == 404)
        #expect(answer.text.hasPrefix("nothing here"))
    }

    @Test("unless enable_lifecycle is set it is refused, and the answer does not tell which names there are")
    func forbidden() throws {
        try side.push([("app", "a 1\n")])
        let known = try side.send("DELETE", "/apps/app")
        let unknown = try side.send("DELETE", "/apps/nobody")
        #expect(known.status == 403 && known.text.contains("enable_lifecycle"))
        #expect(unknown.status == 403 && unknown.text == known.text)
        #expect(try names() == ["app"])
    }

    @Test("other methods are not allowed, whether the app is there or not", arguments: ["POST", "PUT", "OPTIONS"], ["app", "nobody"])
    func otherMethods(method: String, name: String) throws {
        try side.push([("app", "a 1\n")])
        let answer = try side.send(method, "/apps/\(name)")
        #expect(answer.status == 405)
        #expect(answer[header: "Allow"] == "GET, HEAD, DELETE")
    }

    @Test("a deletion is logged where it happens, and nothing else is")
    func logged() throws {
        try side.push([("app", "a 1\n")])
        _ = try side.send("DELETE", "/apps/app")
        side.lifecycle.isEnabled = true
        _ = try side.send("DELETE", "/apps/nobody")
        _ = try side.send("GET", "/apps/app")
        #expect(side.lifecycle.changes == [])
        _ = try side.send("DELETE", "/apps/app")
        #expect(side.lifecycle.changes.map { "\($0.request) \($0.status)" } == ["DELETE /apps/app 204"])
    }

    @Test("a target stays listed, and has metrics again when it next answers")
    func target() throws {
        side.lifecycle.isEnabled = true
        let target = try side.target(port: 1027)
        side.store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "a 1\n"))), for: target.url, at: side.now)
        #expect(try side.send("DELETE", "/apps/external_poll:%20127.0.0.1:1027").status == 204)
        let deleted = try #require(side.store.app(named: target.name))
        #expect(deleted.lastUpdate == nil && deleted.state == .ok && deleted.exposition.size == 0)
        #expect(try side.send("GET", "/metrics").text == "")

        side.store.record(.failure(reason: "refused"), for: target.url, at: side.now)
        #expect(try side.send("DELETE", "/apps/external_poll:%20127.0.0.1:1027").status == 204)
        #expect(side.store.app(named: target.name)?.state == .failing(reason: "refused"))

        side.store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "a 2\n"))), for: target.url, at: side.now)
        #expect(try side.send("GET", "/metrics").text == "a 2\n")
    }

    @Test("a pushed app that had taken a target's name gives it back")
    func pushedOverTarget() throws {
        side.lifecycle.isEnabled = true
        let target = try side.target(port: 1027)
        try side.push([(target.name.description, "pushed 1\n")])
        #expect(side.store.remove(target.name))
        let listed = try #require(side.store.app(named: target.name))
        #expect(listed.source == .poll(endpoint: "127.0.0.1:1027") && listed.lastUpdate == nil)
        side.store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "polled 1\n"))), for: target.url, at: side.now)
        #expect(try side.send("GET", "/metrics").text == "polled 1\n")
        side.store.unregister(target.url)
        #expect(try names() == [])
    }

    @Test("what was deleted no longer counts towards the limits")
    func limits() throws {
        let store = MetricStore(limits: StoreLimits(maxApps: 1, maxTotalSize: ByteCount(10)))
        let full = Push(apps: [(try #require(AppName("a")), Exposition(endingInNewline: ByteBuffer(string: "12345678\n")))])
        let other = Push(apps: [(try #require(AppName("b")), Exposition(endingInNewline: ByteBuffer(string: "12345678\n")))])
        try store.apply(full, from: .push(listener: "l"), at: side.now)
        #expect(throws: Rejection.self) { try store.apply(other, from: .push(listener: "l"), at: side.now) }
        #expect(store.remove(try #require(AppName("a"))))
        try store.apply(other, from: .push(listener: "l"), at: side.now)
    }
}
