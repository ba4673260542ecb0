import Exposition
import NIOCore
import Pushgateway
import Synchronization
import Testing

@testable import Proxy

@Suite("PushGroups")
struct PushGroupsTests {
    private final class Clock: Sendable {
        let seconds = Atomic<Int>(100)
        var now: Moment {
            let time = Int64(seconds.load(ordering: .relaxed)) * 1_000_000_000
            return Moment(time: Timestamp(nanoseconds: time), instant: Instant(nanoseconds: time))
        }
    }

    /// Counts calls from any thread.
    private final class CallCount: Sendable {
        private let count = Atomic(0)
        func next() -> Int { count.add(1, ordering: .relaxed).newValue }
    }

    private let clock = Clock()
    private let store: MetricStore
    private let intake: Intake
    private let groups: PushGroups
    private let sender = Sender(peer: .unknown)

    init() {
        store = MetricStore(limits: StoreLimits(maxTotalSize: ByteCount(2000)))
        let clock = clock
        intake = Intake(store: store) { clock.now }
        groups = PushGroups(intake)
    }

    private func push(_ text: String, to path: String = "job/j", replacing: Bool = false, waits: Bool = true) throws -> PushGroups.Outcome {
        var text = text
        let families = try text.withUTF8 { try TextFamilies.read(UnsafeRawBufferPointer($0)) }
        let key = try GroupingKey(path: path)
        return try groups.push(
            families, to: key, named: try #require(AppName(key.name)), replacing: replacing, from: sender, through: .push(listener: "l"),
            waits: waits)
    }

    private func samples(_ app: String = "job/j") throws -> [Substring] {
        let name = try #require(AppName(app))
        let entry = try #require(store.app(named: name))
        return String(buffer: entry.exposition.buffer).split(separator: "\n").filter { !$0.hasPrefix("#") }
    }

    private func withLast(_ last: Substring, _ samples: [Substring]) -> [Substring] { Array(samples.dropLast()) + [last] }

    @Test("a group is merged with what the store has of it, also after a snapshot has moved its bytes")
    func merges() throws {
        _ = try push("a 1")
        _ = store.snapshot(at: clock.now)
        clock.seconds.store(101, ordering: .relaxed)
        _ = try push("b 2")
        #expect(
            try samples() == [
                #"a{instance="",job="j"} 1"#, #"b{instance="",job="j"} 2"#, #"push_time_seconds{instance="",job="j"} 101"#,
                #"push_failure_time_seconds{instance="",job="j"} 0"#,
            ])
        _ = try push("c 3", replacing: true)
        #expect(try samples().first == #"c{instance="",job="j"} 3"#)
    }

    @Test("a refused push sets the time of the failure and no other; the first one makes no group")
    func failures() throws {
        #expect(throws: Rejection.self) { try push("a 1 5") }
        #expect(store.count == 0)
        _ = try push("a 1")
        clock.seconds.store(200, ordering: .relaxed)
        #expect(throws: Rejection.self) { try push("a 1 5") }
        #expect(
            try samples().suffix(2) == [
                #"push_time_seconds{instance="",job="j"} 100"#, #"push_failure_time_seconds{instance="",job="j"} 200"#,
            ])
        #expect(store.app(named: try #require(AppName("job/j")))?.lastUpdate?.time == Timestamp(nanoseconds: 100_000_000_000))
        // A full store too, which has no room for the longer number.
        clock.seconds.store(300, ordering: .relaxed)
        let size = store.snapshot(at: clock.now).size
        store.setLimits(StoreLimits(maxTotalSize: ByteCount(size)))
        #expect(throws: Rejection.storeFull(limit: ByteCount(size))) { try push("b 1") }
        #expect(try samples().last == #"push_failure_time_seconds{instance="",job="j"} 300"#)
        // The other groups go on.
        store.setLimits(StoreLimits())
        _ = try push("b 1")
        #expect(
            try samples().suffix(2) == [
                #"push_time_seconds{instance="",job="j"} 300"#, #"push_failure_time_seconds{instance="",job="j"} 300"#,
            ])
    }

    @Test("with refuse, a group is refused without a place, which would be one in the text that the proxy makes of it")
    func refuse() throws {
        var config = Config()
        config.metrics.validate = .refuse
        intake.rules = IntakeRules(config)
        let error = #expect(throws: Rejection.self) { try push("exporter_proxy_z 1") }
        #expect(error?.reason == .invalidMetrics)
        #expect(error?.line.contains(": series \"exporter_proxy_z\" would hide") == true && error?.line.contains("line 2") == false)
        _ = try push("a 1")
        #expect(try samples().first == #"a{instance="",job="j"} 1"#)
    }

    @Test("what was sent is kept beside what is exposed when labels are set, and is counted")
    func labelled() throws {
        var config = Config()
        config.metrics.appLabel = "app"
        intake.rules = IntakeRules(config)
        _ = try push("a{app=\"x\"} 1")
        _ = try push("b 2")
        #expect(try samples().first == #"a{exported_app="x",instance="",job="j",app="job/j"} 1"#)
        let name = try #require(AppName("job/j"))
        let entry = try #require(store.app(named: name))
        let unlabelled = try #require(entry.group?.unlabelled)
        #expect(String(buffer: unlabelled).contains("\na{app=\"x\",instance=\"\",job=\"j\"} 1\n"))
        let both = entry.exposition.size + unlabelled.readableBytes
        store.setLimits(StoreLimits(maxTotalSize: ByteCount(both - 1)))
        #expect(throws: Rejection.self) { try push("long_name_of_a_metric 3", to: "job/other") }
        // Without labels from now on, it is held once.
        store.setLimits(StoreLimits())
        intake.rules = IntakeRules(Config())
        _ = try push("b 3")
        #expect(try samples().first == #"a{app="x",instance="",job="j"} 1"#)
        #expect(store.app(named: name)?.group?.unlabelled == nil)
    }

    @Test(
        "a group that is deleted, or replaced by another push, while a push to it is merged does not come back", arguments: [true, false])
    func changedMeanwhile(deleted: Bool) throws {
        _ = try push("old 1")
        let name = try #require(AppName("job/j"))
        let (store, clock, calls) = (store, clock, CallCount())
        // The second time is that of the merge: the group has been read.
        let intake = Intake(store: store) {
            if calls.next() == 2 {
                _ = store.remove(name)
                let other = Push(apps: [(name: name, exposition: Exposition(addingNewlineTo: ByteBuffer(string: "other 1")))])
                if !deleted { try? store.apply(other, from: .push(listener: "l"), at: clock.now) }
            }
            return clock.now
        }
        let key = try GroupingKey(path: "job/j")
        let families = [MetricFamily(name: "new", kind: .gauge, metrics: [Metric(value: .number(2))])]
        let outcome = try PushGroups(intake).push(
            families, to: key, named: name, replacing: false, from: sender, through: .push(listener: "l"), waits: true)
        guard case .applied = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(
            try samples() == [
                #"new{instance="",job="j"} 2"#, #"push_time_seconds{instance="",job="j"} 100"#,
                #"push_failure_time_seconds{instance="",job="j"} 0"#,
            ])
    }

    @Test("an app that was pushed in another way is no group: it is replaced")
    func others() throws {
        let name = try #require(AppName("job/j"))
        try intake.apply(
            Push(apps: [(name, Exposition(addingNewlineTo: ByteBuffer(string: "old 1")))]), from: sender, through: .push(listener: "l"))
        _ = try push("a 1")
        #expect(try samples().first == #"a{instance="",job="j"} 1"#)
        #expect(try samples().count == 3)
    }

    @Test("a refused push sets the time of the failure and no label, although the group would have more labels now")
    func refusedWithNewLabels() throws {
        _ = try push((0..<20).map { "a\($0) 1" }.joined(separator: "\n"))
        let before = try samples()
        var config = Config()
        config.metrics.appLabel = String(repeating: "label", count: 20)
        intake.rules = IntakeRules(config)
        #expect(throws: Rejection.storeFull(limit: ByteCount(2000))) { try push("b 1") }
        #expect(try samples() == withLast(#"push_failure_time_seconds{instance="",job="j"} 100"#, before))
        // There is room now, and the push is refused for its timestamp.
        store.setLimits(StoreLimits())
        clock.seconds.store(200, ordering: .relaxed)
        #expect(throws: Rejection.self) { try push("b 1 5") }
        #expect(try samples() == withLast(#"push_failure_time_seconds{instance="",job="j"} 200"#, before))
    }

    @Test("a refused push removes no label, although the group would have none now; the next one merges with what was sent")
    func refusedWithoutLabels() throws {
        var config = Config()
        config.metrics.appLabel = "app"
        intake.rules = IntakeRules(config)
        _ = try push("a{app=\"x\"} 1")
        let before = try samples()
        intake.rules = IntakeRules(Config())
        clock.seconds.store(200, ordering: .relaxed)
        #expect(throws: Rejection.self) { try push("b 1 5") }
        #expect(try samples() == withLast(#"push_failure_time_seconds{instance="",job="j",app="job/j"} 200"#, before))
        _ = try push("b 1")
        #expect(try samples().first == #"a{app="x",instance="",job="j"} 1"#)
        #expect(try samples().last == #"push_failure_time_seconds{instance="",job="j"} 200"#)
    }

    @Test("a sample of a group has at most ten thousand labels, with those of the path and the app's")
    func manyLabels() throws {
        store.setLimits(StoreLimits())
        var config = Config()
        config.metrics.validate = .refuse
        config.metrics.appLabel = "app"
        intake.rules = IntakeRules(config)
        func sample(_ count: Int) -> String { "m{\((0..<count).map { "l\($0)=\"x\"" }.joined(separator: ","))} 1" }
        _ = try push("keep 1")
        // Three more: instance, job and app.
        let error = #expect(throws: Rejection.self) { try push(sample(9_998)) }
        #expect(error?.reason == .invalidMetrics)
        #expect(try samples().count == 3)
        _ = try push(sample(9_997))
        #expect(try samples().count == 4)
        let name = try #require(AppName("job/j"))
        let exposition = try #require(store.app(named: name)).exposition
        #expect(exposition.buffer.withUnsafeReadableBytes { Validator().firstError(in: $0) } == nil)
    }

    @Test("metrics that are refused count as refused pushes")
    func validated() throws {
        var config = Config()
        config.metrics.validate = .refuse
        intake.rules = IntakeRules(config)
        _ = try push("a 1")
        clock.seconds.store(200, ordering: .relaxed)
        #expect(throws: Rejection.self) { try push("exporter_proxy_apps 1") }
        #expect(
            try samples().suffix(2) == [
                #"push_time_seconds{instance="",job="j"} 100"#, #"push_failure_time_seconds{instance="",job="j"} 200"#,
            ])
    }

    @Test("a push by a sender that is not the owner changes nothing in the group, not even the time of the failure")
    func notOwner() throws {
        _ = try push("a 1")
        let before = try samples()
        var rule = OwnerRule(apps: [AppPattern("job/*")])
        rule.users = [.id(7)]
        func look(_ name: String) -> UInt32 { 0 }
        intake.setOwners(try Owners([rule], user: look, group: look))
        clock.seconds.store(200, ordering: .relaxed)
        #expect(throws: Rejection.notOwner(app: "job/j", owners: "user 7")) { try push("a 2") }
        #expect(try samples() == before)
    }

    @Test("a large group is left to a pool")
    func large() throws {
        store.setLimits(StoreLimits())
        guard case .applied = try push("a 1", waits: false) else { return #expect(Bool(false)) }
        _ = try push("b{l=\"\(String(repeating: "x", count: UndecodedPush.inlineLimit))\"} 1")
        guard case .takesLonger = try push("a 2", waits: false) else { return #expect(Bool(false)) }
        #expect(try samples().first == #"a{instance="",job="j"} 1"#)
    }

    @Test("a group that app_label may make long is left to a pool", arguments: [false, true])
    func longLabels(isLabelled: Bool) throws {
        store.setLimits(StoreLimits())
        var config = Config()
        if isLabelled { config.metrics.appLabel = "app" }
        intake.rules = IntakeRules(config)
        let text = "b{l=\"\(String(repeating: "x", count: 64_000))\"} 1"
        let isApplied = if case .applied = try push(text, waits: false) { true } else { false }
        #expect(isApplied != isLabelled && store.count == (isLabelled ? 0 : 1))
        guard case .applied = try push(text, waits: true) else { return #expect(Bool(false)) }
        #expect(store.count == 1)
    }
}
