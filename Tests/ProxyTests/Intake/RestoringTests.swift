import NIOCore
import Testing

@testable import Proxy

@Suite("Restoring apps")
struct RestoringTests {
    private let store = MetricStore(limits: StoreLimits(maxApps: 2, expireAfter: .seconds(10)))
    private let intake: Intake

    init() { intake = Intake(store: store) { Moment(time: Timestamp(nanoseconds: 0), instant: Instant(nanoseconds: 0)) } }

    private func app(_ name: String, _ text: String, second: Int64 = 0) throws -> AppEntry {
        AppEntry(
            name: try #require(AppName(name)), source: .push(listener: "l"),
            lastUpdate: Timestamp(nanoseconds: second * 1_000_000_000).moment,
            exposition: Exposition(addingNewlineTo: ByteBuffer(string: text)), state: .ok)
    }

    private func snapshot(second: Int64) -> [AppEntry] {
        Array(store.snapshot(at: Timestamp(nanoseconds: second * 1_000_000_000)).entries)
    }

    @Test("an app is as it was, and goes on getting older")
    func ages() throws {
        #expect(intake.restore(try app("a", "x 1", second: -5), .report) == .stored)
        let entry = try #require(snapshot(second: 1).first)
        #expect(entry.source == .push(listener: "l") && entry.isFresh && entry.lastUpdate?.time.nanoseconds == -5_000_000_000)
        #expect(snapshot(second: 6).first?.state == .expired(error: nil))
    }

    @Test("beyond a limit an app is left out")
    func limits() throws {
        #expect(intake.restore(try app("a", "x 1"), .off) == .stored)
        #expect(intake.restore(try app("b", "x 1"), .off) == .stored)
        #expect(intake.restore(try app("c", "x 1"), .off) == .leftOut)
        #expect(snapshot(second: 1).map(\.name.description) == ["a", "b"])
    }

    @Test("the apps come newest first: an expired one makes no room for an older one, but the longest-expired one for a push")
    func expired() throws {
        for second in [-20, -21, -22] {
            var app = try app("a\(-second)", "x 1", second: Int64(second))
            app.exposition = .empty
            app.state = .expired(error: nil)
            #expect(intake.restore(app, .report) == (second == -22 ? .leftOut : .stored))
        }
        let new = Push(apps: [(name: try #require(AppName("new")), exposition: Exposition(addingNewlineTo: ByteBuffer(string: "x 1")))])
        try store.apply(new, from: .push(listener: "l"), at: Timestamp(nanoseconds: 0))
        #expect(snapshot(second: 0).map(\.name.description) == ["a20", "new"])
    }

    @Test("with refuse, invalid metrics are withheld; with report they pass")
    func invalid() throws {
        #expect(intake.restore(try app("a", "not valid\n"), .refuse) == .withheld)
        #expect(intake.restore(try app("b", "not valid\n"), .report) == .stored)
        let entries = snapshot(second: 1)
        #expect(entries.map(\.isWithheld) == [true, false])
        #expect(entries[0].exposition.size == 0 && entries[0].condition == .invalid && entries[0].error != nil)
        #expect(entries[1].exposition.size == 10)
    }

    @Test("blank lines alone are no metrics with refuse")
    func blankLines() throws {
        #expect(intake.restore(try app("a", "\n"), .report) == .stored)
        #expect(intake.restore(try app("b", "\n"), .refuse) == .stored)
        #expect(snapshot(second: 1).map(\.exposition.size) == [1, 0])
    }

    @Test("a group that is withheld takes no memory for its metrics without labels either")
    func withheldGroup() throws {
        var group = try app("a", "not valid\n")
        group.group = PushedGroup(unlabelled: ByteBuffer(string: "not valid\n"))
        #expect(intake.restore(group, .refuse) == .withheld)
        #expect(store.app(named: group.name)?.group == nil)
    }

    @Test("changes of pushed apps are counted, those of polled ones are not")
    func generation() throws {
        let url = TargetURL(origin: .http(host: "127.0.0.1", port: 1027), pathAndQuery: "/metrics")
        store.register(Target(url: url, name: try #require(AppName("t"))))
        var before = store.pushedGeneration
        func hasChanged() -> Bool {
            defer { before = store.pushedGeneration }
            return store.pushedGeneration != before
        }
        store.record(.success(Exposition(addingNewlineTo: ByteBuffer(string: "t 1"))), for: url, at: Timestamp(nanoseconds: 1))
        #expect(!hasChanged())
        _ = intake.restore(try app("a", "x 1"), .off)
        #expect(hasChanged())
        _ = snapshot(second: 1)
        #expect(!hasChanged())
        _ = snapshot(second: 11)
        #expect(hasChanged(), "it has expired")
        _ = store.remove(try #require(AppName("a")))
        #expect(hasChanged())
        _ = intake.restore(try app("t", "x 1"), .off)
        #expect(hasChanged())
        store.record(.success(Exposition(addingNewlineTo: ByteBuffer(string: "t 2"))), for: url, at: Timestamp(nanoseconds: 2))
        #expect(hasChanged(), "a target has taken its name")
    }
}
