import Dispatch
import Exposition
import NIOCore
import Synchronization
import Testing

@testable import Proxy

@Suite("Metrics at the door")
struct IntakeRulesTests {
    private let store = MetricStore()
    private let intake: Intake
    private static let now = Moment(time: Timestamp(nanoseconds: 1_000), instant: Instant(nanoseconds: 7))
    private let url = TargetURL(origin: .http(host: "127.0.0.1", port: 1027), pathAndQuery: "/metrics")

    init() {
        intake = Intake(store: store) { Self.now }
    }

    private func setRules(_ validation: MetricsValidation, appLabel: String? = nil, labels: [(String, String)] = []) throws {
        var config = Config()
        config.metrics.validate = validation
        config.metrics.appLabel = appLabel
        var target = Target(url: url, name: try #require(AppName("t")))
        target.labels = labels.map { Target.Label(name: $0.0, value: $0.1) }
        config.poll = PollConfig(targets: [target])
        store.register(target)
        intake.rules = IntakeRules(config)
    }

    private func push(_ apps: (String, String)...) throws(Rejection) {
        let push = Push(
            apps: apps.compactMap { app in
                AppName(app.0).map { ($0, Exposition(addingNewlineTo: ByteBuffer(string: app.1))) }
            })
        try intake.apply(push, from: Sender(peer: .unknown), through: .push(listener: "l"))
    }

    private func poll(_ text: String) -> PollOutcome {
        intake.record(.success(Exposition(addingNewlineTo: ByteBuffer(string: text))), for: url)
    }

    private var exposed: String { store.snapshot(at: Self.now).pieces.map { String(buffer: $0) }.joined() }

    @Test("with off and report, whatever comes is stored as it is", arguments: [MetricsValidation.off, .report])
    func passes(validation: MetricsValidation) throws {
        try setRules(validation)
        try push(("a", "wrong\n"), ("b", "b{app=\"x\"} 1\n"))
        _ = poll("t wrong\n")
        #expect(exposed == "wrong\nb{app=\"x\"} 1\nt wrong\n")
    }

    private func sample(labels count: Int) -> String { "m{\((0..<count).map { "l\($0)=\"x\"" }.joined(separator: ","))} 1\n" }

    @Test("a sample with too many labels, added ones included, is refused; one with as many as possible is not judged otherwise later")
    func manyLabels() throws {
        try setRules(.refuse, appLabel: "app", labels: [("env", "p")])
        try push(("a", "a 1\n"))
        let error = #expect(throws: Rejection.self) { try push(("a", sample(labels: 10_000))) }
        #expect(error?.reason == .invalidMetrics)
        #expect(exposed == "a{app=\"a\"} 1\n")
        try push(("a", sample(labels: 9_999)))
        let name = try #require(AppName("a"))
        let app = try #require(store.app(named: name))
        #expect(app.exposition.buffer.withUnsafeReadableBytes { Survey(of: $0, isStored: true) }.findings == Findings())
        let next = Intake(store: MetricStore()) { Self.now }
        #expect(next.restore(app, .refuse) == .stored)
        // A target's label comes beside the app's.
        guard case .failure(let reason) = poll(sample(labels: 9_999)) else {
            Issue.record("not refused")
            return
        }
        #expect(reason.contains("more than 10000 labels in one sample"))
        guard case .success = poll(sample(labels: 9_998)) else {
            Issue.record("refused")
            return
        }
    }

    @Test("with report, a sample that has too many labels with the added ones is stored with them, and found invalid")
    func manyLabelsReported() throws {
        try setRules(.report, appLabel: "app")
        try push(("a", sample(labels: 10_000)))
        #expect(exposed.hasSuffix(",app=\"a\"} 1\n"))
        let app = try #require(store.snapshot(at: Self.now).entries.first)
        #expect(app.exposition.buffer.withUnsafeReadableBytes { !Survey(of: $0, isStored: true).findings.isValid })
    }

    @Test("texts that are large with their labels are made and stored one at a time")
    func oneLargeTextAtATime() async throws {
        let (inside, most) = (Counter(), Counter())
        let store = store
        let second = DispatchSemaphore(value: 0)
        // The clock is read when a text has been made and is not stored yet.
        let intake = Intake(store: store) {
            let texts = inside.add(1)
            most.raise(to: texts)
            // A second text must not come while the first is here. Without the lock it comes at once.
            if texts == 2 { second.signal() } else { _ = second.wait(timeout: .now() + .milliseconds(300)) }
            inside.add(-1)
            return Self.now
        }
        var config = Config()
        config.metrics.validate = .refuse
        config.metrics.appLabel = "app"
        intake.rules = IntakeRules(config)
        let text = String(repeating: "a 1\n", count: 2_000_000)
        try await withThrowingTaskGroup(of: Void.self) { pushes in
            for name in ["a", "b"] {
                let app = (try #require(AppName(name)), Exposition(addingNewlineTo: ByteBuffer(string: text)))
                pushes.addTask { try intake.apply(Push(apps: [app]), from: Sender(peer: .unknown), through: .push(listener: "l")) }
            }
            try await pushes.waitForAll()
        }
        #expect(most.value == 1)
        #expect(store.count == 2)
    }

    private final class Counter: Sendable {
        private let count = Atomic(0)
        var value: Int { count.load(ordering: .relaxed) }
        @discardableResult
        func add(_ more: Int) -> Int { count.add(more, ordering: .relaxed).newValue }
        func raise(to value: Int) { count.max(value, ordering: .relaxed) }
    }

    @Test("with refuse, an invalid app refuses the whole push with its line and column; a poll fails with the same words")
    func refuses() throws {
        try setRules(.refuse)
        try push(("a", "a 1\n"))
        let error = #expect(throws: Rejection.self) { try push(("a", "a 2\n"), ("b", "x 1\ny 1\nseconds 12,5\n")) }
        #expect(error?.line == "app b: line 3, column 9: value \"12,5\" is not a number: write a decimal point, not a comma")
        #expect(error?.reason == .invalidMetrics)
        guard case .failure(let reason) = poll("x 1\ny 1\nseconds 12,5\n") else {
            Issue.record("the poll succeeded")
            return
        }
        #expect(reason == "line 3, column 9: value \"12,5\" is not a number: write a decimal point, not a comma")
        #expect(exposed == "a 1\n")
        #expect(throws: Rejection.self) { try push(("a", "exporter_proxy_apps 1\n")) }
        // What only strict readers refuse passes.
        try push(("a", "a 1\na 1"))
        #expect(exposed == "a 1\na 1\n")
    }

    @Test(
        "app_label labels every sample of pushed and polled apps, before the target's own labels",
        arguments: [MetricsValidation.report, .refuse])
    func labels(validation: MetricsValidation) throws {
        try setRules(validation, appLabel: "app", labels: [("env", "pro\"d"), ("zone", "1")])
        try push(("a\"1", "# HELP a b\na 1\nb{app=\"x\"} 2\n"))
        _ = poll("t{env=\"y\"} 1")
        #expect(
            exposed == """
                # HELP a b
                a{app="a\\"1"} 1
                b{exported_app="x",app="a\\"1"} 2
                t{exported_env="y",app="t",env="pro\\"d",zone="1"} 1

                """)
    }

    @Test("a target's labels are its own; invalid metrics get none in report, and stay as they came")
    func targetLabels() throws {
        try setRules(.report, labels: [("env", "prod")])
        try push(("a", "a 1\n"))
        _ = poll("t 1")
        #expect(exposed == "a 1\nt{env=\"prod\"} 1\n")
        _ = poll("t 1\nwrong")
        #expect(exposed == "a 1\nt 1\nwrong\n")
    }

    @Test("max_total_size counts what is exposed")
    func size() throws {
        try setRules(.report, appLabel: "app")
        store.setLimits(StoreLimits(maxTotalSize: ByteCount(20)))
        #expect(throws: Rejection.storeFull(limit: ByteCount(20))) { try push(("name", "a 1\nb 2\n")) }
        try push(("n", "a 1\n"))
        #expect(store.snapshot(at: Self.now).size == "a{app=\"n\"} 1\n".utf8.count)
    }

    @Test("what needs no labels needs no room for them")
    func sizeOfComments() throws {
        try setRules(.report, appLabel: "app")
        let comments = String(repeating: "# a comment of no more than forty bytes\n", count: 45_000)
        store.setLimits(StoreLimits(maxTotalSize: ByteCount(comments.utf8.count)))
        let name = String(repeating: "n", count: 200)
        try push((name, comments))
        #expect(exposed == comments)
        // Each line gets more than 200 bytes.
        let samples = String(repeating: "a 1\n", count: 80_000)
        #expect(throws: Rejection.storeFull(limit: store.limits.maxTotalSize)) { try push((name, samples)) }
        #expect(exposed == comments)
    }

    @Test("metrics with labels may be as large as max_total_size")
    func large() throws {
        try setRules(.report, appLabel: "app")
        let help = "# HELP a \(String(repeating: "x", count: 17 << 20))\n"
        try push(("n", help + "a 1\n"))
        #expect(store.snapshot(at: Self.now).size == (help + "a{app=\"n\"} 1\n").utf8.count)
    }

    @Test("blank lines pass unchanged", arguments: [MetricsValidation.off, .report])
    func blankLines(validation: MetricsValidation) throws {
        try setRules(validation)
        let many = String(repeating: "\n", count: Validator.maxBlankLines + 1)
        try push(("a", "a 1\n\(many)"), ("b", many), ("c", "\n"))
        #expect(exposed == "a 1\n\(many)\(many)\n")
    }

    @Test("with refuse, too many blank lines in a row are an error, and a text without other lines has no metrics")
    func refusedBlankLines() throws {
        try setRules(.refuse)
        let most = String(repeating: "\n", count: Validator.maxBlankLines)
        try push(("a", "a{b=\"\(most)\n\"} 1\n\(most)"), ("b", "\(most)\n"))
        #expect(exposed == "a{b=\"\(most)\n\"} 1\n\(most)")
        let error = #expect(throws: Rejection.self) { try push(("a", "a 1\n\(most)\n")) }
        #expect(error?.line.hasPrefix("app a: line 10002, column 1: more than 10000 blank lines in a row") == true)
        _ = poll(most)
        #expect(store.snapshot(at: Self.now).entries.map(\.exposition.size).last == 0)
    }

    @Test("no metrics stay no metrics")
    func empty() throws {
        try setRules(.refuse, appLabel: "app")
        try push(("a", ""), ("b", "# nothing\n"))
        #expect(exposed == "# nothing\n")
    }
}
