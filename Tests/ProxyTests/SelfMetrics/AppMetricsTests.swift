import NIOCore
import Testing

@testable import Proxy

@Suite("What the self-metrics say of apps")
struct AppMetricsTests {
    private let side = ScrapeSide()

    init() { side.metrics.isExposed = true }

    private func families(_ target: String = "/metrics") throws -> ExposedFamilies {
        let text = try side.send("GET", target).text
        let own = try #require(text.firstRange(of: "# HELP exporter_proxy_"))
        return try ExposedFamilies(String(text[own.lowerBound...]))
    }

    @Test("they come last, each app with its size and its last update, however it is called")
    func lines() throws {
        try side.push([("a", "a 1\n"), ("\"\\", "b 1\nb 2\n"), ("empty", "")])
        let text = try side.send("GET", "/metrics").text
        #expect(text.hasPrefix("b 1\nb 2\na 1\n# HELP exporter_proxy_apps "))
        let families = try families()
        #expect(families["apps"] == "3")
        #expect(families["stored_bytes"] == "12")
        #expect(families[#"app_size_bytes{app="a"}"#] == "4")
        #expect(families[#"app_size_bytes{app="\"\\"}"#] == "8")
        #expect(families[#"app_size_bytes{app="empty"}"#] == "0")
        #expect(families[#"app_last_update_timestamp_seconds{app="a"}"#] == "1653263512.9398987")
    }

    @Test("a target that never answered has a size and no time; an expired app keeps its time")
    func special() throws {
        _ = try side.target(port: 1)
        side.store.setLimits(StoreLimits(expireAfter: .seconds(10)))
        try side.push([("old", "a 1\n")], at: Timestamp(nanoseconds: side.now.nanoseconds - 60_000_000_000))
        let families = try families()
        // An expired app makes room for another one.
        #expect(families["apps"] == "0")
        #expect(families["stored_bytes"] == "0")
        #expect(families.labels(of: "app_size_bytes") == [#"{app="external_poll: 127.0.0.1:1"}"#, #"{app="old"}"#])
        #expect(families.labels(of: "app_last_update_timestamp_seconds") == [#"{app="old"}"#])
    }

    @Test("the stored bytes are those that count towards max_total_size: a group that is labelled counts twice")
    func storedBytes() throws {
        try side.push([("a", "a 1\n")])
        var group = AppEntry(
            name: try #require(AppName("job/b")), source: .push(listener: "l"), lastUpdate: side.now.moment,
            exposition: Exposition(endingInNewline: ByteBuffer(string: "b{app=\"job/b\"} 1\n")), state: .ok)
        group.group = PushedGroup(unlabelled: ByteBuffer(string: "b 1\n"))
        #expect(try side.store.replace(nil, with: group, at: side.now.moment))
        let families = try families()
        #expect(families["apps"] == "2")
        #expect(families["stored_bytes"] == "25")
        let limit = StoreLimits(maxTotalSize: ByteCount(25))
        side.store.setLimits(limit)
        #expect(throws: Rejection.storeFull(limit: limit.maxTotalSize)) { try side.push([("c", "\n")]) }
    }

    @Test("they are no app, are left out of ?app=, and out of /metrics when they are switched off")
    func leftOut() throws {
        try side.push([("a", "a 1\n")])
        #expect(try side.send("GET", "/metrics?app=a").text == "a 1\n")
        #expect(try !side.send("GET", "/apps").text.contains("exporter_proxy"))
        side.metrics.isExposed = false
        #expect(try side.send("GET", "/metrics").text == "a 1\n")
    }

    @Test("compressed or not, the bytes are the same; with one chunk, many, and after changes", arguments: [1, 3000])
    func gzip(apps: Int) throws {
        var names = (0..<apps).map { "app\($0)" }
        try side.push(names.map { ($0, String(repeating: "\($0) 1\n", count: 20)) })
        for _ in 0..<5 {
            let plain = try side.send("GET", "/metrics")
            let compressed = try side.send("GET", "/metrics", headers: ["host": "h", "accept-encoding": "gzip"])
            #expect(plain.contentLength == plain.bytes.count)
            #expect(compressed.contentLength == compressed.bytes.count)
            #expect(compressed[header: "Content-Encoding"] == "gzip")
            var output = ByteBuffer()
            let gunzip = Gunzip(limit: 1 << 26)
            for piece in compressed.pieces { try gunzip.inflate(piece, into: &output) }
            try gunzip.finish()
            #expect(output == ByteBuffer(bytes: plain.bytes))
            let families = try families()
            #expect(families["apps"] == String(names.count))
            #expect(families.labels(of: "app_size_bytes").count == names.count)
            names.append("more\(names.count)")
            try side.push([(names[names.count - 1], "x 1\n"), (names[0], "changed 1\n")])
        }
    }

    @Test("a change writes the lines of its own chunk anew, and no others")
    func sharing() throws {
        try side.push((0..<4000).map { ("app\($0)", String(repeating: "x 1\n", count: 100)) })
        let before = side.store.snapshot(at: side.now)
        let chunks = before.chunks.count
        try #require(chunks > 6)
        let first = AppMetrics.of(before, side.metrics.lineGroups).expositions
        try side.push([("app0", "x 2\n")])
        let after = side.store.snapshot(at: side.now)
        #expect(after.unwrittenApps > 0 && after.unwrittenApps < 2 * 4000 / chunks)
        let second = AppMetrics.of(after, side.metrics.lineGroups).expositions
        let shared = second.count { new in first.contains { $0 === new } }
        #expect(shared >= second.count - 7)
        #expect(after.unwrittenApps == 0)
    }

    @Test("many apps are written off the event loop, few on it")
    func offload() throws {
        try side.push((0..<OffloadThreshold.apps + 1).map { ("app\($0)", "x 1\n") })
        _ = try side.send("GET", "/metrics")
        let first = side.offload.count
        #expect(first > 0)
        _ = try side.send("GET", "/metrics")
        #expect(side.offload.count == first)
    }

    @Test("groups of lines are cut again when changes have left too many short ones")
    func regrouping() {
        func part(_ size: Int) -> AppLines {
            AppLines(updates: ByteBuffer(), sizes: ByteBuffer(repeating: UInt8(ascii: "\n"), count: size))
        }
        var lines = (0..<400).map { _ in part(1 << 10) }
        var groups: [AppLineGroup] = []
        var state = UInt64(7)
        for _ in 0..<500 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            lines[Int(state >> 33) % lines.count] = part(Int(state >> 40) % (2 << 10))
            groups = AppLineGroup.groups(of: lines, reusing: groups)
            let isWhole = groups.flatMap(\.parts).elementsEqual(lines) { $0 === $1 }
            #expect(isWhole)
        }
        #expect(groups.count <= 2 * 400 * 1024 / AppLineGroup.minSize + 4 + 8)
    }
}
