import NIOCore
import Testing

@testable import Proxy

@Suite("MetricStore")
struct MetricStoreTests {
    private let source = Source.push(listener: "127.0.0.1:6554")
    private let now = Timestamp(nanoseconds: 5)

    private func store(apps: Int = 100, size: Int = 1 << 20) -> MetricStore {
        MetricStore(limits: StoreLimits(maxApps: apps, maxTotalSize: ByteCount(size)))
    }

    private func push(_ apps: (String, String)...) throws -> Push {
        Push(apps: try apps.map { (try #require(AppName($0.0)), Exposition(addingNewlineTo: ByteBuffer(string: $0.1))) })
    }

    private func target(_ name: String, port: UInt16 = 9100) throws -> Target {
        Target(url: TargetURL(origin: .http(host: "h", port: port), pathAndQuery: "/metrics"), name: try #require(AppName(name)))
    }

    private func app(_ name: String, in store: MetricStore) throws -> AppEntry? { store.app(named: try #require(AppName(name))) }

    private func success(_ text: String) -> PollOutcome { .success(Exposition(endingInNewline: ByteBuffer(string: text))) }

    private func text(_ store: MetricStore) -> String { store.snapshot(at: now).pieces.map { String(buffer: $0) }.joined() }

    private func names(_ store: MetricStore) -> [String] { store.snapshot(at: now).entries.map(\.name.description) }

    @Test("bytes that were replaced, moved into a chunk or removed count as freed")
    func freedBytes() throws {
        let store = store()
        try store.apply(push(("a", "a 1"), ("b", "b 1")), from: source, at: now)
        #expect(store.freedBytes == 0)
        // A chunk of two apps joins their bytes: both move.
        _ = store.snapshot(at: now)
        #expect(store.freedBytes == 8)
        try store.apply(push(("a", "a 22")), from: source, at: now)
        #expect(store.freedBytes == 12)
        let target = try target("t")
        store.register(target)
        store.record(success("t 1\n"), for: target.url, at: now)
        store.unregister(target.url)
        #expect(store.freedBytes == 16)
    }

    @Test("new metrics replace the old ones whole, with their source and time")
    func replacement() throws {
        let store = store()
        try store.apply(push(("a", "a 1\na 2"), ("b", "b 1")), from: source, at: now)
        try store.apply(push(("a", "a 3")), from: .push(listener: "/run/x.sock"), at: Timestamp(nanoseconds: 9))
        #expect(text(store) == "a 3\nb 1\n")
        let a = try #require(try app("a", in: store))
        #expect(a.source == .push(listener: "/run/x.sock"))
        #expect(a.lastUpdate?.time == Timestamp(nanoseconds: 9))
        #expect(try app("b", in: store)?.lastUpdate?.time == now)
    }

    @Test("an app with empty metrics stays listed and adds not a byte")
    func emptyMetrics() throws {
        let store = store()
        try store.apply(push(("a", "a 1"), ("b", "b 1")), from: source, at: now)
        try store.apply(push(("a", "")), from: source, at: now)
        #expect(names(store) == ["a", "b"])
        #expect(text(store) == "b 1\n")
    }

    // MARK: Limits

    @Test("max_apps apps are taken, one more is refused, and what is stored stays")
    func maxApps() throws {
        let store = store(apps: 2)
        try store.apply(push(("a", "a 1"), ("b", "b 1")), from: source, at: now)
        #expect(throws: Rejection.tooManyApps(limit: 2)) { try store.apply(push(("c", "c 1")), from: source, at: now) }
        #expect(text(store) == "a 1\nb 1\n")
        try store.apply(push(("b", "b 2")), from: source, at: now)
        #expect(text(store) == "a 1\nb 2\n")
    }

    @Test("max_total_size bytes are taken, final newlines counted, one more is refused")
    func maxTotalSize() throws {
        let store = store(size: 8)
        try store.apply(push(("a", "a 1"), ("b", "b 1")), from: source, at: now)
        #expect(throws: Rejection.storeFull(limit: ByteCount(8))) { try store.apply(push(("a", "a 10")), from: source, at: now) }
        #expect(text(store) == "a 1\nb 1\n")
        // What is replaced makes room for what replaces it.
        try store.apply(push(("a", "1"), ("b", "b 123")), from: source, at: now)
        #expect(text(store) == "1\nb 123\n")
    }

    @Test("a push is applied together or not at all")
    func together() throws {
        let store = store(apps: 2, size: 12)
        try store.apply(push(("a", "a 1")), from: source, at: now)
        #expect(throws: Rejection.tooManyApps(limit: 2)) {
            try store.apply(push(("a", "a 2"), ("b", "b 1"), ("c", "c 1")), from: source, at: now)
        }
        #expect(throws: Rejection.storeFull(limit: ByteCount(12))) {
            try store.apply(push(("a", "a 2"), ("b", "b 123456")), from: source, at: now)
        }
        #expect(text(store) == "a 1\n")
        #expect(names(store) == ["a"])
    }

    @Test("lowered limits take nothing away, and let through what does not grow")
    func loweredLimits() throws {
        let store = store()
        try store.apply(push(("a", "a 1"), ("b", "b 1")), from: source, at: now)
        store.setLimits(StoreLimits(maxApps: 1, maxTotalSize: ByteCount(2)))
        #expect(names(store) == ["a", "b"])
        try store.apply(push(("a", "a 2")), from: source, at: now)
        // Decoding ends there: one push may still replace all that are stored.
        #expect(store.mostApps == 2)
        #expect(throws: Rejection.storeFull(limit: ByteCount(2))) { try store.apply(push(("a", "a 22")), from: source, at: now) }
        #expect(throws: Rejection.tooManyApps(limit: 1)) { try store.apply(push(("c", "")), from: source, at: now) }
        #expect(text(store) == "a 2\nb 1\n")
    }

    // MARK: Targets

    @Test("a registered target is listed before it answers, and takes none of max_apps until it does")
    func registered() throws {
        let store = store(apps: 1)
        let target = try target("t")
        store.register(target)
        #expect(store.app(named: target.name)?.lastUpdate == nil)
        try store.apply(push(("a", "a 1")), from: source, at: now)
        let recorded = store.record(success("t 1\n"), for: target.url, at: now)
        guard case .failure(let reason) = recorded else {
            Issue.record("passed max_apps")
            return
        }
        #expect(reason.contains("max_apps"))
        #expect(store.app(named: target.name)?.state == .failing(reason: reason))
        #expect(text(store) == "a 1\n")
    }

    @Test("a failure only marks; the next success clears the mark")
    func failure() throws {
        let store = store()
        let target = try target("t")
        store.register(target)
        store.record(success("t 1\n"), for: target.url, at: now)
        store.record(.failure(reason: "timed out"), for: target.url, at: Timestamp(nanoseconds: 8))
        var entry = try #require(store.app(named: target.name))
        #expect(entry.state == .failing(reason: "timed out"))
        #expect(entry.lastUpdate?.time == now)
        #expect(text(store) == "t 1\n")
        store.record(success("t 2\n"), for: target.url, at: Timestamp(nanoseconds: 9))
        entry = try #require(store.app(named: target.name))
        #expect(entry.state == .ok && entry.lastUpdate?.time == Timestamp(nanoseconds: 9))
        #expect(text(store) == "t 2\n")
    }

    @Test("a late outcome of a target that is no longer registered is dropped")
    func late() throws {
        let store = store()
        let target = try target("t")
        store.register(target)
        store.record(success("t 1\n"), for: target.url, at: now)
        store.unregister(target.url)
        #expect(names(store) == [])
        store.record(success("t 2\n"), for: target.url, at: now)
        store.record(.failure(reason: "late"), for: target.url, at: now)
        #expect(names(store) == [])
    }

    @Test("what is removed makes room")
    func room() throws {
        let store = store(apps: 1, size: 4)
        let target = try target("t")
        store.register(target)
        store.record(success("t 1\n"), for: target.url, at: now)
        #expect(throws: Rejection.tooManyApps(limit: 1)) { try store.apply(push(("a", "a 1")), from: source, at: now) }
        store.unregister(target.url)
        try store.apply(push(("a", "a 1")), from: source, at: now)
        #expect(text(store) == "a 1\n")
    }

    @Test("a pushed and a polled app of one name replace each other like any two updates")
    func pushedAndPolled() throws {
        let store = store()
        let target = try target("t")
        store.register(target)
        try store.apply(push(("t", "pushed 1")), from: source, at: now)
        #expect(text(store) == "pushed 1\n")
        // Somebody else's metrics are not failing.
        store.record(.failure(reason: "timed out"), for: target.url, at: now)
        #expect(store.app(named: target.name)?.state == .ok)
        store.record(success("polled 1\n"), for: target.url, at: now)
        #expect(text(store) == "polled 1\n")
        #expect(store.app(named: target.name)?.source == .poll(endpoint: "h:9100"))
        try store.apply(push(("t", "pushed 2")), from: source, at: now)
        store.record(.failure(reason: "refused"), for: target.url, at: now)
        // Once the push is gone, it is known how the target does.
        #expect(store.remove(target.name) && store.app(named: target.name)?.state == .failing(reason: "refused"))
        store.record(success("polled 2\n"), for: target.url, at: now)
        #expect(store.remove(target.name) && store.app(named: target.name)?.condition == .waiting)
        try store.apply(push(("t", "pushed 2")), from: source, at: now)
        store.unregister(target.url)
        #expect(text(store) == "pushed 2\n")
    }

    @Test("a target registered while a push holds its name leaves the push alone")
    func registeredLater() throws {
        let store = store()
        try store.apply(push(("t", "pushed 1")), from: source, at: now)
        store.register(try target("t"))
        #expect(text(store) == "pushed 1\n")
    }

    // MARK: Renames

    @Test("a renamed target takes its metrics along")
    func rename() throws {
        let store = store()
        var target = try target("old")
        store.register(target)
        store.record(success("t 1\n"), for: target.url, at: now)
        target.name = try #require(AppName("new"))
        store.register(target)
        #expect(names(store) == ["new"])
        #expect(text(store) == "t 1\n")
        #expect(store.app(named: target.name)?.lastUpdate?.time == now)
        store.record(success("t 2\n"), for: target.url, at: now)
        #expect(text(store) == "t 2\n")
        store.unregister(target.url)
        #expect(names(store) == [])
    }

    @Test("two targets that swap their names keep their own metrics")
    func swappedNames() throws {
        let store = store()
        var a = try target("a", port: 1)
        var b = try target("b", port: 2)
        for target in [a, b] { store.register(target) }
        store.record(success("of_a 1\n"), for: a.url, at: now)
        store.record(success("of_b 1\n"), for: b.url, at: now)
        swap(&a.name, &b.name)
        for target in [a, b] { store.register(target) }
        #expect(names(store) == ["a", "b"])
        #expect(text(store) == "of_b 1\nof_a 1\n")
        store.unregister(a.url)
        #expect(text(store) == "of_b 1\n")
        store.unregister(b.url)
        #expect(names(store) == [])
    }

    @Test("sizes add up after everything that can happen")
    func accounting() throws {
        let store = store(apps: 2, size: 8)
        var target = try target("t")
        for round in 0..<20 {
            store.register(target)
            store.record(success("t 1\n"), for: target.url, at: now)
            store.record(.failure(reason: "\(round)"), for: target.url, at: now)
            target.name = try #require(AppName("t\(round)"))
            store.register(target)
            try store.apply(push(("a", "a 1")), from: source, at: now)
            store.unregister(target.url)
            try store.apply(push(("a", "")), from: source, at: now)
        }
        // The store is as empty as at the start but for `a`.
        try store.apply(push(("a", "1234567")), from: source, at: now)
        #expect(throws: Rejection.storeFull(limit: ByteCount(8))) { try store.apply(push(("b", "1")), from: source, at: now) }
    }

    @Test("pushes, polls and snapshots from many threads leave a store that adds up")
    func threads() async throws {
        let store = store(apps: 1000, size: 1 << 30)
        let targets = try (0..<4).map { try target("poll\($0)", port: UInt16($0 + 1)) }
        for target in targets { store.register(target) }
        try await withThrowingTaskGroup { group in
            for task in 0..<4 {
                group.addTask {
                    for round in 0..<200 {
                        try store.apply(push(("app\(task)", "\(round)"), ("shared", "\(task)")), from: source, at: now)
                        store.record(success("\(round)\n"), for: targets[task].url, at: now)
                        if round % 3 == 0 {
                            let snapshot = store.snapshot(at: now)
                            #expect(snapshot.size == snapshot.entries.reduce(0) { $0 + $1.exposition.size })
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(names(store) == ["app0", "app1", "app2", "app3", "poll0", "poll1", "poll2", "poll3", "shared"])
        #expect(text(store).hasPrefix("199\n199\n199\n199\n199\n199\n199\n199\n"))
    }
}
