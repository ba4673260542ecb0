import NIOCore
import Testing

@testable import Proxy

@Suite("expire_after")
struct MetricStoreExpiryTests {
    private static let start = Timestamp(nanoseconds: 1_653_263_512_000_000_000)
    private static func at(_ seconds: Double) -> Timestamp { start.advanced(by: .seconds(seconds)) }

    private func text(_ store: MetricStore, at time: Timestamp) -> String {
        store.snapshot(at: time).pieces.map { String(buffer: $0) }.joined()
    }

    private func states(_ store: MetricStore, at time: Timestamp) -> [String: AppEntry.State] {
        Dictionary(uniqueKeysWithValues: store.snapshot(at: time).entries.map { ($0.name.description, $0.state) })
    }

    private func push(_ names: String..., to store: MetricStore, at time: Timestamp) throws {
        let apps = try names.map { (try #require(AppName($0)), Exposition(endingInNewline: ByteBuffer(string: "\($0) 1\n"))) }
        try store.apply(Push(apps: apps), from: .push(listener: "127.0.0.1:6554"), at: time)
    }

    private func target(_ port: UInt16, expireAfter: Duration?) throws -> Target {
        Target(
            url: TargetURL(origin: .http(host: "127.0.0.1", port: port), pathAndQuery: "/"), name: try #require(AppName("t\(port)")),
            expireAfter: expireAfter)
    }

    /// A store with a target that answered at the start, and expires after ten seconds.
    private func storeWithTarget(maxApps: Int) throws -> (MetricStore, Target) {
        let store = MetricStore(limits: StoreLimits(maxApps: maxApps))
        let target = try target(1, expireAfter: .seconds(10))
        store.register(target)
        store.record(page, for: target.url, at: Self.at(0))
        return (store, target)
    }

    private let page = PollOutcome.success(Exposition(endingInNewline: ByteBuffer(string: "t 1\n")))

    @Test("a pushed app leaves at the moment, not before, stays listed, and comes back with its next push")
    func pushed() throws {
        let store = MetricStore(limits: StoreLimits(expireAfter: .seconds(10)))
        try push("a", to: store, at: Self.at(0))
        try push("b", to: store, at: Self.at(5))
        let before = Self.at(10).advanced(by: .nanoseconds(-1))
        #expect(text(store, at: before) == "a 1\nb 1\n")
        #expect(states(store, at: before) == ["a": .ok, "b": .ok])

        let expired = store.snapshot(at: Self.at(10))
        #expect(expired.size == 4)
        #expect(states(store, at: Self.at(10)) == ["a": .expired(error: nil), "b": .ok])
        let name = try #require(AppName("a"))
        let entry = try #require(expired.entry(named: name))
        #expect(entry.lastUpdate?.time == Self.at(0))
        #expect(entry.exposition.size == 0)
        #expect(text(store, at: Self.at(15)) == "")

        try push("a", to: store, at: Self.at(16))
        #expect(text(store, at: Self.at(25.9)) == "a 1\n")
        #expect(text(store, at: Self.at(26)) == "")
    }

    @Test("without expire_after nothing ever expires")
    func never() throws {
        let store = MetricStore()
        try push("a", to: store, at: Self.at(0))
        let target = try target(1, expireAfter: nil)
        store.register(target)
        store.record(page, for: target.url, at: Self.at(0))
        #expect(text(store, at: Timestamp(nanoseconds: .max)) == "a 1\nt 1\n")
    }

    @Test("until the moment every reader shares one snapshot; after it the chunks not concerned are the same ones")
    func sharing() throws {
        let store = MetricStore(limits: StoreLimits(expireAfter: .seconds(10)))
        // Each is a chunk of its own.
        for (index, name) in ["a", "b", "c"].enumerated() {
            let bytes = Exposition(endingInNewline: ByteBuffer(repeating: UInt8(ascii: "\n"), count: 200 << 10))
            let push = Push(apps: [(try #require(AppName(name)), bytes)])
            try store.apply(push, from: .push(listener: "x"), at: Self.at(index == 1 ? 0 : 5))
        }
        let first = store.snapshot(at: Self.at(6)).chunks
        let second = store.snapshot(at: Self.at(9)).chunks
        #expect(first.count == 3)
        #expect(zip(first, second).allSatisfy { $0 === $1 })
        let third = store.snapshot(at: Self.at(10)).chunks
        #expect(third.contains { $0 === first[0] } || third.contains { $0 === first[2] })
        #expect(third.reduce(0) { $0 + $1.content.size } == 400 << 10)
    }

    @Test("the bytes of an expired app are freed")
    func freed() throws {
        let store = MetricStore(limits: StoreLimits(maxTotalSize: ByteCount(8), expireAfter: .seconds(10)))
        try push("a", "b", to: store, at: Self.at(0))
        #expect(throws: Rejection.storeFull(limit: ByteCount(8))) { try push("c", to: store, at: Self.at(9)) }
        // No reader has come by in between.
        try push("c", "d", to: store, at: Self.at(10))
        #expect(text(store, at: Self.at(10)) == "c 1\nd 1\n")
    }

    @Test("at max_apps the longest-expired apps make room, as many as are needed")
    func room() throws {
        let store = MetricStore(limits: StoreLimits(maxApps: 4, expireAfter: .seconds(10)))
        try push("d", to: store, at: Self.at(0))
        try push("a", to: store, at: Self.at(1))
        try push("c", to: store, at: Self.at(2))
        try push("b", to: store, at: Self.at(5))
        #expect(throws: Rejection.tooManyApps(limit: 4)) { try push("e", to: store, at: Self.at(9)) }
        try push("e", to: store, at: Self.at(10))
        #expect(Set(states(store, at: Self.at(10)).keys) == ["a", "b", "c", "e"])
        // Two are needed and one is there: the push is refused whole, and the one stays.
        #expect(throws: Rejection.tooManyApps(limit: 4)) { try push("f", "g", to: store, at: Self.at(11)) }
        #expect(states(store, at: Self.at(11))["a"] == .expired(error: nil))
        try push("f", "g", to: store, at: Self.at(12))
        #expect(Set(states(store, at: Self.at(12)).keys) == ["b", "e", "f", "g"])
    }

    @Test("the longest-expired app makes room, also if another one was found to have expired before it")
    func roomInOrderOfExpiry() throws {
        let store = MetricStore(limits: StoreLimits(maxApps: 2, expireAfter: .seconds(10)))
        try push("older", to: store, at: Self.at(0))
        try push("younger", to: store, at: Self.at(1))
        let younger = try #require(AppName("younger"))
        #expect(store.apps(named: [younger], at: Self.at(20)).map(\.state) == [.expired(error: nil)])
        try push("new", to: store, at: Self.at(20))
        #expect(states(store, at: Self.at(20)) == ["younger": .expired(error: nil), "new": .ok])
    }

    @Test("an app that is removed leaves nothing behind, before a snapshot too")
    func removed() throws {
        var state = StoreState(limits: StoreLimits(expireAfter: .seconds(3600)))
        func put(_ name: String) throws {
            let entry = AppEntry(
                name: try #require(AppName(name)), source: .push(listener: "l"), lastUpdate: Self.at(0).moment, exposition: .empty,
                state: .ok)
            state.put(StoredApp(entry, targetNumber: nil))
        }
        try put("seen")
        let first = state.takeChanges().changes
        #expect(first.count == 1)
        for index in 0..<3 { try put("unseen\(index)") }
        for name in ["unseen1", "unseen0", "seen"] { _ = state.remove(name: try #require(AppName(name))) }
        // The next snapshot has to take out what an earlier one has shown.
        let second = Set(state.takeChanges().changes.map(\.record.name.description))
        #expect(second == ["seen", "unseen2"])
        _ = state.remove(name: try #require(AppName("unseen2")))
        #expect(state.expiries.next == nil)
    }

    @Test("an expired app that comes back in the same push makes no room for the others")
    func revivedInOnePush() throws {
        let store = MetricStore(limits: StoreLimits(maxApps: 2, expireAfter: .seconds(10)))
        try push("a", to: store, at: Self.at(0))
        try push("b", to: store, at: Self.at(5))
        #expect(throws: Rejection.tooManyApps(limit: 2)) { try push("a", "c", to: store, at: Self.at(11)) }
        try push("a", "c", to: store, at: Self.at(15))
        #expect(text(store, at: Self.at(15)) == "a 1\nc 1\n")
    }

    @Test("who was updated and expired again is the last to make room")
    func order() throws {
        let store = MetricStore(limits: StoreLimits(maxApps: 2, expireAfter: .seconds(10)))
        try push("a", to: store, at: Self.at(0))
        try push("b", to: store, at: Self.at(1))
        _ = store.snapshot(at: Self.at(11))
        try push("a", to: store, at: Self.at(12))
        _ = store.snapshot(at: Self.at(22))
        try push("c", to: store, at: Self.at(23))
        #expect(Set(states(store, at: Self.at(23)).keys) == ["a", "c"])
    }

    @Test("a failing target keeps its last good metrics until its own expire_after, then is expired, with the error")
    func polled() throws {
        let store = MetricStore(limits: StoreLimits(expireAfter: .seconds(1)))
        let (short, long) = (try target(1, expireAfter: .seconds(10)), try target(2, expireAfter: .seconds(20)))
        for target in [short, long] {
            store.register(target)
            store.record(page, for: target.url, at: Self.at(0))
            store.record(.failure(reason: "refused"), for: target.url, at: Self.at(5))
        }
        #expect(text(store, at: Self.at(9)) == "t 1\nt 1\n")
        #expect(states(store, at: Self.at(10)) == ["t1": .expired(error: "refused"), "t2": .failing(reason: "refused")])
        #expect(text(store, at: Self.at(19)) == "t 1\n")
        store.record(.failure(reason: "timed out"), for: short.url, at: Self.at(20))
        #expect(states(store, at: Self.at(20)) == ["t1": .expired(error: "timed out"), "t2": .expired(error: "refused")])
        store.record(page, for: short.url, at: Self.at(21))
        #expect(states(store, at: Self.at(21))["t1"] == .ok)
        #expect(text(store, at: Self.at(21)) == "t 1\n")
    }

    @Test("a target that never answered does not expire")
    func neverAnswered() throws {
        let store = MetricStore()
        let target = try target(1, expireAfter: .seconds(10))
        store.register(target)
        #expect(states(store, at: Self.at(100)) == ["t1": .ok])
        store.record(.failure(reason: "refused"), for: target.url, at: Self.at(100))
        #expect(states(store, at: Self.at(1000)) == ["t1": .failing(reason: "refused")])
    }

    @Test("an expired target takes none of max_apps, and stays listed")
    func expiredTargetCounts() throws {
        let (store, target) = try storeWithTarget(maxApps: 1)
        #expect(throws: Rejection.tooManyApps(limit: 1)) { try push("a", to: store, at: Self.at(9)) }
        try push("a", to: store, at: Self.at(10))
        #expect(states(store, at: Self.at(10)) == ["a": .ok, "t1": .expired(error: nil)])
        guard case .failure = store.record(page, for: target.url, at: Self.at(11)) else {
            Issue.record("the store took more than max_apps")
            return
        }
    }

    @Test("a target's answer makes room as a push does: the longest-expired pushed app goes")
    func roomForATarget() throws {
        let store = MetricStore(limits: StoreLimits(maxApps: 2, expireAfter: .seconds(10)))
        try push("a", to: store, at: Self.at(0))
        try push("b", to: store, at: Self.at(1))
        let target = try target(1, expireAfter: nil)
        store.register(target)
        store.record(page, for: target.url, at: Self.at(11))
        #expect(states(store, at: Self.at(11)) == ["b": .expired(error: nil), "t1": .ok])
    }

    @Test("an expired target makes no room, and is not removed to make some")
    func expiredTargetStays() throws {
        let (store, _) = try storeWithTarget(maxApps: 2)
        try push("a", "b", to: store, at: Self.at(10))
        #expect(throws: Rejection.tooManyApps(limit: 2)) { try push("c", to: store, at: Self.at(11)) }
        #expect(states(store, at: Self.at(11)) == ["a": .ok, "b": .ok, "t1": .expired(error: nil)])
    }

    @Test("an app that expires again and again keeps no place in the order of those that make room")
    func manyExpiries() throws {
        let store = MetricStore(limits: StoreLimits(maxApps: 3, expireAfter: .seconds(10)))
        for (second, name) in ["a", "b", "c"].enumerated() { try push(name, to: store, at: Self.at(Double(second))) }
        // Makes room once, and then goes a hundred times and comes back.
        for round in 0..<100 {
            let time = Double(20 + 20 * round)
            try push("d", to: store, at: Self.at(time))
            #expect(states(store, at: Self.at(time + 10)) == ["b", "c", "d"].reduce(into: [:]) { $0[$1] = .expired(error: nil) })
        }
        try push("e", to: store, at: Self.at(3000))
        #expect(Set(states(store, at: Self.at(3000)).keys) == ["c", "d", "e"])
        try push("f", to: store, at: Self.at(3001))
        #expect(Set(states(store, at: Self.at(3001)).keys) == ["d", "e", "f"])
    }

    @Test("a new expire_after holds for what is stored: shorter, longer, never; for pushes and for one target")
    func liveChanges() throws {
        let store = MetricStore(limits: StoreLimits(expireAfter: .seconds(100)))
        try push("a", to: store, at: Self.at(0))
        var target = try target(1, expireAfter: .seconds(100))
        store.register(target)
        store.record(page, for: target.url, at: Self.at(0))

        store.setLimits(StoreLimits(expireAfter: .seconds(200)))
        #expect(text(store, at: Self.at(150)) == "a 1\n")
        store.setLimits(StoreLimits(expireAfter: nil))
        #expect(text(store, at: Self.at(1000)) == "a 1\n")
        store.setLimits(StoreLimits(expireAfter: .seconds(10)))
        #expect(text(store, at: Self.at(1000)) == "")

        store.record(page, for: target.url, at: Self.at(1000))
        target.expireAfter = .seconds(5)
        store.register(target)
        #expect(text(store, at: Self.at(1004)) == "t 1\n")
        #expect(text(store, at: Self.at(1005)) == "")
    }

    @Test("an update that was measured earlier than the one before it counts from its own moment")
    func earlierMoment() throws {
        let store = MetricStore(limits: StoreLimits(expireAfter: .seconds(10)))
        try push("a", to: store, at: Self.at(1000))
        try push("a", to: store, at: Self.at(0))
        #expect(text(store, at: Self.at(10)) == "")
    }

    @Test("the wall clock decides nothing: set forward it expires no fresh app, set back it keeps no silent one", arguments: [3600, -3600])
    func wallClockSet(by seconds: Int) throws {
        let store = MetricStore(limits: StoreLimits(expireAfter: .seconds(6)))
        let target = try target(1, expireAfter: .seconds(6))
        store.register(target)
        /// The wall clock was set by `seconds` one second after the push.
        func moment(_ age: Double) -> Moment {
            let set = Timestamp(nanoseconds: Self.start.nanoseconds + Int64(seconds) * 1_000_000_000)
            return Moment(time: age < 1 ? Self.start : set, instant: Instant(nanoseconds: 1).advanced(by: .seconds(age)))
        }
        let push = Push(apps: [(try #require(AppName("a")), Exposition(endingInNewline: ByteBuffer(string: "a 1\n")))])
        try store.apply(push, from: .push(listener: "x"), at: moment(0))
        store.record(page, for: target.url, at: moment(0))
        func text(_ age: Double) -> String { store.snapshot(at: moment(age)).pieces.map { String(buffer: $0) }.joined() }
        #expect(text(1) == "a 1\nt 1\n")
        #expect(text(5.9) == "a 1\nt 1\n")
        #expect(store.apps(named: push.apps.map(\.name), at: moment(5.9)).map(\.state) == [.ok])
        #expect(store.apps(named: push.apps.map(\.name), at: moment(6)).map(\.state) == [.expired(error: nil)])
        #expect(text(6) == "")
        // What is shown is the wall clock of the update.
        #expect(store.app(named: push.apps[0].name)?.lastUpdate?.time == Self.start)
    }

    @Test("ten thousand apps, updated and expiring in turns, are never more or fewer than they should be")
    func many() throws {
        let store = MetricStore(limits: StoreLimits(expireAfter: .seconds(10)))
        var lastPush: [Int: Int] = [:]
        var state = UInt64(1)
        for second in 0..<40 {
            for _ in 0..<500 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let app = Int(state >> 33) % 2000
                lastPush[app] = second
                try push("app\(app)", to: store, at: Self.at(Double(second)))
            }
            let fresh = lastPush.values.count { second - $0 < 10 }
            let entries = store.snapshot(at: Self.at(Double(second))).entries
            #expect(entries.count == lastPush.count)
            #expect(entries.count { $0.state == .ok } == fresh)
        }
    }
}
