import Exposition
import Foundation
import HTTP
import NIOCore
import Testing

@testable import Proxy

@Suite("/apps/NAME")
struct AppRouteTests {
    private let side = ScrapeSide()

    private func object(_ target: String) throws -> [String: Any] {
        let received = try side.send("GET", target, headers: ["accept": "application/json", "host": "h"])
        #expect(received.status == 200 && received[header: "Content-Type"] == "application/json")
        #expect(received[header: "Vary"] == "Accept" && received[header: "Cache-Control"] == "no-store")
        return try #require(try JSONSerialization.jsonObject(with: Data(received.bytes)) as? [String: Any])
    }

    @Test("programs get JSON with what /apps says of the app, and what was found")
    func json() throws {
        try side.push([("job/a b", "up 1\n"), ("other", "x 1\n")])
        for target in ["/apps/job%2Fa%20b", "/apps/job/a%20b"] {
            let object = try object(target)
            #expect(
                Set(object.keys) == [
                    "name", "source", "last_update", "bytes", "state", "error", "sender", "samples", "families", "problems",
                    "problem_count",
                ])
            #expect(object["name"] as? String == "job/a b" && object["state"] as? String == "ok" && object["bytes"] as? Int == 5)
            // Nothing has checked it.
            #expect(object["samples"] is NSNull && object["families"] is NSNull && (object["problems"] as? [Any])?.isEmpty == true)
        }
    }

    @Test("people get lines, also where a browser asks, and ?format= wins")
    func text() throws {
        try side.push([("app", "up 1\n")])
        let expected = """
            name:        app
            source:      127.0.0.1:6554
            last update: 2022-05-22 23:51:52.939898700 UTC
            bytes:       5
            state:       ok

            """
        for headers in [[:], ["accept": "*/*"], ["accept": "text/html,*/*;q=0.8"], ["accept": "text/plain"]] {
            #expect(try side.send("GET", "/apps/app", headers: headers).text == expected)
        }
        #expect(try side.send("GET", "/apps/app?format=text", headers: ["accept": "application/json"]).text == expected)
        #expect(try side.send("GET", "/apps/app?format=json").text.hasPrefix("{\"name\": \"app\""))
        #expect(try side.send("GET", "/apps/app?format=html").status == 400)
        let head = try side.send("HEAD", "/apps/app")
        #expect(head.contentLength == expected.utf8.count && head.bytes.isEmpty)
    }

    @Test("the peer that pushed it is named")
    func sender() throws {
        let sender = Sender(peer: .address(try SocketAddress(ipAddress: "10.0.0.7", port: 4711)))
        let push = Push(apps: [(try #require(AppName("a")), .empty)])
        try side.store.apply(push, from: .push(listener: "l"), sender: sender, at: side.now.moment)
        #expect(try object("/apps/a")["sender"] as? String == "10.0.0.7:4711")
        #expect(try side.send("GET", "/apps/a").text.hasSuffix("sender:      10.0.0.7:4711\n"))
    }

    @Test("a failing target shows why, an expired app that it is")
    func states() throws {
        let target = try side.target(port: 1027)
        let path = "/apps/external_poll:%20127.0.0.1:1027"
        #expect(try object(path)["state"] as? String == "waiting")
        side.store.record(.failure(reason: "refused \u{1B}"), for: target.url, at: side.now)
        #expect(try side.send("GET", path).text.hasSuffix("state:       failing\nerror:       refused \\u{1B}\n"))
        side.store.setLimits(StoreLimits(expireAfter: .seconds(10)))
        try side.push([("old", "a 1\n")], at: Timestamp(nanoseconds: side.now.nanoseconds - 60_000_000_000))
        #expect(try object("/apps/old")["state"] as? String == "expired")
    }

    @Test("what a check has found is shown in both forms, and makes the app invalid")
    func findings() throws {
        var entry = AppEntry(
            name: try #require(AppName("a")), source: .push(listener: "l"), lastUpdate: side.now.moment,
            exposition: Exposition(endingInNewline: ByteBuffer(string: "a 1,5\n")), state: .ok)
        entry.check = AppCheck(
            samples: 3, families: 2,
            findings: [
                Finding(severity: .warning, line: 1, column: 1, message: "second HELP"),
                Finding(severity: .error, line: 2, column: 3, message: "value \"1,5\" is not a number"),
            ], findingCount: 7)
        #expect(entry.condition == .invalid && entry.error == "line 2, column 3: value \"1,5\" is not a number")
        let json = String(buffer: AppDetails.json(of: entry))
        #expect(
            json.hasSuffix(
                #"""
                "state": "invalid", "error": "line 2, column 3: value \"1,5\" is not a number", "sender": null, "samples": 3, "families": 2, "problems": [
                {"line": 1, "column": 1, "message": "second HELP", "severity": "warning"},
                {"line": 2, "column": 3, "message": "value \"1,5\" is not a number", "severity": "error"}], "problem_count": 7}

                """#), "\(json)")
        let text = String(buffer: AppDetails.text(of: entry))
        #expect(text.contains("problems:    7\nwarning:     line 1, column 1: second HELP\nerror:       line 2, column 3: value"))
        entry.state = .failing(reason: "refused")
        #expect(entry.condition == .failing && entry.error == "refused")
    }

    @Test("an app that is not there answers 404", arguments: ["/apps/nobody", "/apps/App"])
    func unknown(target: String) throws {
        try side.push([("app", "a 1\n")])
        let answer = try side.send("GET", target)
        #expect(answer.status == 404 && answer.text == "no app of this name; /apps lists them\n")
    }
}

@Suite("/metrics/self, and what other proxies get")
struct SelfMetricsRouteTests {
    private let side = ScrapeSide()

    init() { side.metrics.isExposed = true }

    @Test("it is the end of /metrics, and nothing else; compressed alike; 404 when it is switched off")
    func alone() throws {
        try side.push([("a", "a 1\n"), ("b", "b 1\n")])
        let whole = try side.send("GET", "/metrics").text
        let own = try side.send("GET", "/metrics/self")
        #expect(own.status == 200 && own[header: "Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
        #expect("a 1\nb 1\n" + own.text == whole)
        let compressed = try side.send("GET", "/metrics/self", headers: ["accept-encoding": "gzip"])
        #expect(compressed[header: "Content-Encoding"] == "gzip" && compressed.contentLength == compressed.bytes.count)
        var output = ByteBuffer()
        let gunzip = Gunzip(limit: 1 << 20)
        for piece in compressed.pieces { try gunzip.inflate(piece, into: &output) }
        try gunzip.finish()
        #expect(String(buffer: output) == own.text)
        side.metrics.isExposed = false
        #expect(try side.send("GET", "/metrics/self").status == 404)
    }

    @Test("an answer to another proxy leaves out the proxy's own metrics", arguments: [[:], ["accept-encoding": "gzip"]])
    func otherProxy(headers: [String: String]) throws {
        try side.push([("a", "a 1\n")])
        let received = try side.send("GET", "/metrics", headers: headers.merging([Request.instanceField: "f00"]) { $1 })
        var output = ByteBuffer(bytes: received.bytes)
        if received[header: "Content-Encoding"] == "gzip" {
            let gunzip = Gunzip(limit: 100)
            var text = ByteBuffer()
            try gunzip.inflate(output, into: &text)
            try gunzip.finish()
            output = text
        }
        #expect(String(buffer: output) == "a 1\n")
    }

    @Test("an answer lists this proxy and those whose metrics it contains, each once")
    func instances() throws {
        func list(_ target: String) throws -> String? { try side.send("GET", target)[header: "X-Exporter-Proxy-Instances"] }
        #expect(try list("/metrics") == ProgramInstance.id)
        for (port, instances) in [(1027, ["b2", "a1"]), (1028, ["a1"])] as [(UInt16, [String])] {
            let exposition = Exposition(endingInNewline: ByteBuffer(string: "t\(port) 1\n")).containing(instances)
            side.store.record(.success(exposition), for: try side.target(port: port).url, at: side.now)
        }
        try side.push([("pushed", "p 1\n")])
        #expect(try list("/metrics") == "\(ProgramInstance.id), a1, b2")
        #expect(try list("/metrics?app=pushed") == ProgramInstance.id)
        #expect(try list("/metrics?app=external_poll:+127.0.0.1:1028") == "\(ProgramInstance.id), a1")
        #expect(try list("/metrics/self") == ProgramInstance.id)
    }
}
