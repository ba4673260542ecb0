import Foundation
import NIOCore
import Testing

@testable import Proxy

@Suite("/apps")
struct AppsRouteTests {
    private let side = ScrapeSide()

    @Test("people get the text table")
    func text() throws {
        try side.push([("app", "up 1\n")])
        let received = try side.send("GET", "/apps", headers: ["accept": "*/*"])
        #expect(received.status == 200)
        #expect(received[header: "Content-Type"] == "text/plain; charset=utf-8")
        #expect(received[header: "Vary"] == "Accept")
        #expect(received[header: "Cache-Control"] == "no-store")
        #expect(received[header: "X-Content-Type-Options"] == "nosniff")
        #expect(received.text.contains("| Current time: 2022-05-22 23:51:52.939898700 UTC "))
        #expect(received.text.contains("| | app      | 2022-05-22 23:51:52.939898700 UTC | 127.0.0.1:6554 | |"))
    }

    @Test(
        "programs get JSON, by Accept or by ?format=json",
        arguments: [("/apps", "application/json"), ("/apps?format=json", "*/*"), ("/apps?format=json", "text/plain")])
    func json(target: String, accept: String) throws {
        try side.push([("app \"1\" \\ größe", "up 1\n")], at: Timestamp(nanoseconds: 1_653_263_467_406_709_000))
        let received = try side.send("GET", target, headers: ["accept": accept])
        #expect(received.status == 200)
        #expect(received[header: "Content-Type"] == "application/json")
        #expect(received[header: "Vary"] == "Accept")
        let document = try decode(received)
        #expect(document.time == "2022-05-22T23:51:52.939898700Z")
        #expect(
            document.apps == [
                .init(
                    name: "app \"1\" \\ größe", source: "127.0.0.1:6554", last_update: "2022-05-22T23:51:07.406709Z", bytes: 5, state: "ok",
                    error: nil)
            ])
    }

    @Test("?format=text beats an Accept for JSON; another format is refused")
    func format() throws {
        let text = try side.send("GET", "/apps?format=text", headers: ["accept": "application/json"])
        #expect(text[header: "Content-Type"] == "text/plain; charset=utf-8")
        #expect(try side.send("GET", "/apps?format=xml").status == 400)
    }

    @Test("without apps the JSON has an empty list")
    func noApps() throws {
        let text = try side.send("GET", "/apps?format=json").text
        #expect(
            text == """
                {"time": "2022-05-22T23:51:52.939898700Z", "apps": [], "listeners": [], "reload": null, "ready": true, \
                "version": "\(ProgramVersion.current)", "start_time": "2022-05-22T00:00:00Z"}

                """)
    }

    @Test("a target is listed from its registration on, with its error while it fails")
    func polled() throws {
        let target = try side.target(port: 1027)
        #expect(try decode(try side.send("GET", "/apps?format=json")).apps.map(\.state) == ["waiting"])
        #expect(try side.send("GET", "/apps").text.contains("| never "))

        side.store.record(.failure(reason: "refused \u{1}\u{1F}\n\t\r\"\\"), for: target.url, at: side.now)
        let never = try decode(try side.send("GET", "/apps?format=json")).apps
        #expect(
            never == [
                .init(
                    name: "external_poll: 127.0.0.1:1027", source: "external_poll: 127.0.0.1:1027", last_update: nil, bytes: 0,
                    state: "failing", error: "refused \u{1}\u{1F}\n\t\r\"\\")
            ])
        #expect(try side.send("GET", "/apps").text.contains("| never (failing) "))

        side.store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "a 1\n"))), for: target.url, at: side.now)
        let answered = try decode(try side.send("GET", "/apps?format=json")).apps
        #expect(answered.map(\.state) == ["ok"])
        #expect(answered.map(\.bytes) == [4])
        #expect(answered.map(\.error) == [nil])

        side.store.record(.failure(reason: "timed out"), for: target.url, at: Timestamp(nanoseconds: side.now.nanoseconds + 1))
        #expect(try side.send("GET", "/apps").text.contains("| 2022-05-22 23:51:52.939898700 UTC (failing) |"))
    }

    @Test("an expired app says so in every form, and ?app= answers 503 and why")
    func expired() throws {
        side.store.setLimits(StoreLimits(expireAfter: .seconds(10)))
        try side.push([("a", "a 1\n")], at: Timestamp(nanoseconds: side.now.nanoseconds - 10_000_000_000))
        try side.push([("b", "b 1\n")])
        #expect(try side.send("GET", "/apps").text.contains("| a        | 2022-05-22 23:51:42.939898700 UTC (expired) | 127.0.0.1:6554 |"))
        let apps = try decode(try side.send("GET", "/apps?format=json")).apps
        #expect(apps.map(\.state) == ["expired", "ok"])
        #expect(apps.map(\.bytes) == [0, 4])
        #expect(apps.map(\.error) == [nil, nil])
        #expect(apps[0].last_update == "2022-05-22T23:51:42.939898700Z")

        #expect(try side.send("GET", "/metrics").text == "b 1\n")
        let one = try side.send("GET", "/metrics?app=a")
        #expect(one.status == 503)
        #expect(one.text == "no fresh metrics: a has expired: no update since 2022-05-22 23:51:42.939898700 UTC\n")
        #expect(try side.send("GET", "/metrics?app=a&app=b").text == "b 1\n")
        // Its target stays, so that its `up` falls to 0.
        #expect(try side.send("GET", "/sd").text.contains("\"app\": \"a\""))
    }

    @Test("of a target that fails and expires, expired wins, and the error stays")
    func expiredTarget() throws {
        let target = try side.target(port: 1027)
        let earlier = Timestamp(nanoseconds: side.now.nanoseconds - 60_000_000_000)
        side.store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "a 1\n"))), for: target.url, at: earlier)
        side.store.record(.failure(reason: "timed out"), for: target.url, at: earlier)
        #expect(try side.send("GET", "/apps").text.contains(" UTC (expired) |"))
        let apps = try decode(try side.send("GET", "/apps?format=json")).apps
        #expect(apps.map(\.state) == ["expired"])
        #expect(apps.map(\.error) == ["timed out"])
    }

    @Test("JSON names every member, null included")
    func members() throws {
        _ = try side.target(port: 1027)
        let received = try side.send("GET", "/apps?format=json")
        let document = try #require(try JSONSerialization.jsonObject(with: Data(received.bytes)) as? [String: Any])
        #expect(Set(document.keys) == ["time", "apps", "listeners", "reload", "ready", "version", "start_time"])
        let app = try #require((document["apps"] as? [[String: Any]])?.first)
        #expect(Set(app.keys) == ["name", "source", "last_update", "bytes", "state", "error"])
        #expect(app["last_update"] is NSNull)
        #expect(app["error"] is NSNull)
    }

    @Test("JSON tells of listeners and the last reload")
    func status() throws {
        side.lifecycle.isReady = false
        side.lifecycle.status = DaemonStatus(
            startTime: Timestamp(nanoseconds: 0),
            listeners: [
                .init(
                    name: "0.0.0.0:6555", kind: .scrape, tls: "optional", openConnections: 3,
                    certificateEnd: Timestamp(nanoseconds: 1_000_000_000)),
                .init(name: "/run/\"r\".sock", kind: .unix, format: .capnp),
            ],
            lastReload: .init(time: Timestamp(nanoseconds: 2_000_000_000), error: "config.toml:1:1: error: \"x\"\nand more"))
        let text = try side.send("GET", "/apps?format=json").text
        #expect(
            text.hasSuffix(
                #"""
                "apps": [], "listeners": [
                {"name": "0.0.0.0:6555", "kind": "scrape", "format": null, "tls": "optional", "open_connections": 3, "certificate_end": "1970-01-01T00:00:01Z"},
                {"name": "/run/\"r\".sock", "kind": "unix", "format": "capnp", "tls": "off", "open_connections": 0, "certificate_end": null}
                ], "reload": {"time": "1970-01-01T00:00:02Z", "error": "config.toml:1:1: error: \"x\"\nand more"}, "ready": false, "version": "\#(ProgramVersion.current)", "start_time": "1970-01-01T00:00:00Z"}

                """#), "\(text)")
    }

    private static let quickApps = [("text", AppLists.quickApps), ("json", AppLists.quickApps), ("html", AppLists.quickPageApps)]

    @Test("few apps with long names are written off the event loop too", arguments: quickApps)
    func longNames(format: String, most: Int) throws {
        // Of 64 bytes each.
        let names = (0..<most).map { String(repeating: "x", count: 60) + String(1000 + $0) }
        try side.push(names.map { ($0, "") })
        #expect(try side.send("GET", "/apps?format=\(format)").status == 200)
        #expect(side.offload.count == 0)
        #expect(side.store.remove(try #require(AppName(names[0]))))
        try side.push([(names[0] + "x", "")])
        #expect(try side.send("GET", "/apps?format=\(format)").status == 200)
        #expect(side.offload.count == 1)
    }

    @Test("many apps are written off the event loop, few on it", arguments: quickApps)
    func offload(format: String, most: Int) throws {
        try side.push((0..<most).map { ("app\($0)", "") })
        let few = try side.send("GET", "/apps?format=\(format)")
        #expect(side.offload.count == 0)
        try side.push([("one more", "")])
        let many = try side.send("GET", "/apps?format=\(format)")
        #expect(side.offload.count == 1)
        #expect(few.status == 200 && many.status == 200)
        #expect(many.contentLength == many.bytes.count && many.contentLength > few.contentLength)
        guard format == "text" else { return }
        #expect(few.text.utf8.filter { $0 == 10 }.count == 2 * most + 7)
        #expect(many.text.utf8.filter { $0 == 10 }.count == 2 * most + 9)
    }

    private struct Document: Decodable {
        var time: String
        var apps: [App]

        struct App: Decodable, Equatable {
            var name, source: String
            var last_update: String?
            var bytes: Int
            var state: String
            var error: String?
        }
    }

    private func decode(_ received: Received) throws -> Document {
        try JSONDecoder().decode(Document.self, from: Data(received.bytes))
    }
}
