import Exposition
import NIOCore
import Testing

@testable import Proxy

@Suite("Checks of what is stored")
struct MetricsCheckerTests {
    private let store = MetricStore()
    private let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
    private let checker: MetricsChecker

    init() {
        checker = MetricsChecker(store: store, metrics: metrics)
        checker.setValidation(.report)
    }

    /// Seconds since a start.
    private func moment(_ seconds: Double) -> Moment { Timestamp(nanoseconds: 1_000_000_000_000 + Int64(seconds * 1e9)).moment }

    private func push(_ name: String, _ text: String, at seconds: Double) throws {
        let app = (name: try #require(AppName(name)), exposition: Exposition(addingNewlineTo: ByteBuffer(string: text)))
        try store.apply(Push(apps: [app]), from: .push(listener: "l"), at: moment(seconds))
    }

    /// Takes every step that is due, and gives what the log would tell.
    @discardableResult
    private func run(at seconds: Double) -> [MetricsChecker.Event] {
        var events: [MetricsChecker.Event] = []
        checker.collect(at: moment(seconds).instant)
        while case .done(let event) = checker.next(at: moment(seconds).instant) {
            if let event { events.append(event) }
        }
        return events
    }

    private func entry(_ name: String) throws -> AppEntry {
        let name = try #require(AppName(name))
        return try #require(store.app(named: name))
    }

    private func exposed(at seconds: Double) -> String { store.snapshot(at: moment(seconds)).pieces.map { String(buffer: $0) }.joined() }

    @Test("an invalid app is told once, with line and column, and once more when it is valid again")
    func verdicts() throws {
        let app = try #require(AppName("a"))
        try push("a", "x 1\nbackup_seconds 12,5\n", at: 0)
        #expect(try entry("a").condition == .ok)
        #expect(
            run(at: 0.1) == [
                .becameInvalid(app, error: "line 2, column 16: value \"12,5\" is not a number: write a decimal point, not a comma")
            ])
        #expect(try entry("a").condition == .invalid && entry("a").check?.samples == 1)
        // The bytes pass as they are.
        #expect(exposed(at: 0.2) == "x 1\nbackup_seconds 12,5\n")
        // The old verdict stands until the check, which comes a second after the last one.
        try push("a", "x 1\ny{z=\"1\"} 2\n", at: 0.5)
        #expect(run(at: 0.6) == [])
        #expect(try entry("a").condition == .invalid)
        #expect(run(at: 1.1) == [.becameValid(app)])
        #expect(try entry("a").condition == .ok && entry("a").check?.samples == 2 && entry("a").check?.families == 2)
        // Nothing changed, nothing is checked.
        #expect(run(at: 5) == [])
    }

    @Test("another invalid text of an app is no news for the log, but its findings are shown")
    func onlyChanges() throws {
        try push("a", "wrong\n", at: 0)
        #expect(run(at: 0).count == 1)
        try push("a", "x 1\nwrong\n", at: 2)
        #expect(run(at: 3).isEmpty)
        #expect(try entry("a").check?.findings.map(\.line) == [2])
    }

    @Test("the newest metrics alone are checked, however many came in between")
    func newest() throws {
        for index in 0..<100 { try push("a", "x{i=\"\(index)\"} \(index == 99 ? "1" : "wrong")\n", at: Double(index) / 100) }
        #expect(run(at: 1).isEmpty)
        #expect(try entry("a").check?.isValid == true)
    }

    @Test("with time for a part of the checks, every app gets its turn")
    func turns() throws {
        var checked: [String] = []
        // Some of the steps are those of the search for collisions.
        for round in 0..<24 {
            let seconds = 2 * Double(round)
            for name in ["a", "b", "c", "d"] { try push(name, String(repeating: "\n", count: round) + "wrong\n", at: seconds) }
            checker.collect(at: moment(seconds).instant)
            let before = try ["a", "b", "c", "d"].map { try entry($0).check?.firstError }
            _ = checker.next(at: moment(seconds).instant)
            let after = try ["a", "b", "c", "d"].map { try entry($0).check?.firstError }
            for (index, name) in ["a", "b", "c", "d"].enumerated() where before[index] != after[index] { checked.append(name) }
        }
        #expect(checked.prefix(8) == ["a", "b", "c", "d", "a", "b", "c", "d"])
    }

    @Test("although some app is always due, series that collide are found")
    func searchBetweenChecks() throws {
        var events: [MetricsChecker.Event?] = []
        for round in 0..<30 {
            let seconds = 2 * Double(round)
            for name in ["a", "b", "c"] { try push(name, "same 1\n# \(round)\n", at: seconds) }
            checker.collect(at: moment(seconds).instant)
            // Time for one step.
            if case .done(let event) = checker.next(at: moment(seconds).instant) { events.append(event) }
        }
        #expect(events.contains { if case .collisionsBegan(count: 1, example: "same", _)? = $0 { true } else { false } }, "\(events)")
    }

    @Test("removed apps do not wait")
    func removedApps() throws {
        for index in 0..<10_000 {
            let name = "a\(index)"
            try push(name, "x 1\n", at: 0)
            _ = store.remove(try #require(AppName(name)))
            if index % 100 == 0 { checker.collect(at: moment(0).instant) }
        }
        checker.collect(at: moment(0).instant)
        #expect(checker.waitingCount < 5000)
    }

    @Test("with refuse, invalid apps leave, stay listed, and come back with their next metrics")
    func refuse() throws {
        try push("a", "wrong\n", at: 0)
        try push("b", "b 1\n", at: 0)
        run(at: 0)
        try push("c", "c wrong\n", at: 0)
        try push("d", "exporter_proxy_x 1\n", at: 0)
        checker.setValidation(.refuse)
        // What is known to be invalid leaves at once, the others with their verdicts.
        #expect(exposed(at: 1) == "b 1\nc wrong\nexporter_proxy_x 1\n")
        run(at: 2)
        #expect(exposed(at: 2) == "b 1\n")
        for name in ["a", "c", "d"] {
            #expect(try entry(name).condition == .invalid && entry(name).exposition.size == 0 && !entry(name).isFresh, "\(name)")
        }
        #expect(try entry("d").error?.hasPrefix("line 1, column 1: series \"exporter_proxy_x\"") == true)
        try push("a", "a 1\n", at: 3)
        #expect(try entry("a").condition == .ok)
        #expect(exposed(at: 3) == "a 1\nb 1\n")
        #expect(run(at: 4) == [.becameValid(try entry("a").name)])
        #expect(try entry("a").condition == .ok && entry("a").check?.samples == 1)
        try push("a", "a 2\n", at: 6)
        #expect(run(at: 7) == [])
        // With off, what was withheld stays so, and why.
        checker.setValidation(.off)
        #expect(try entry("c").condition == .invalid && entry("c").error != nil)
        checker.setValidation(.refuse)
        #expect(run(at: 8) == [])
        #expect(try entry("c").condition == .invalid && entry("c").check?.isValid == false)
    }

    @Test("a target that fails stays withheld, and invalid, in every mode until its next metrics")
    func withheldTarget() throws {
        let url = TargetURL(origin: .http(host: "h", port: 1), pathAndQuery: "/")
        store.register(Target(url: url, name: try #require(AppName("t"))))
        store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "t wrong\n"))), for: url, at: moment(0))
        run(at: 0)
        store.record(.failure(reason: "down"), for: url, at: moment(1))
        checker.setValidation(.refuse)
        #expect(try exposed(at: 2) == "" && entry("t").condition == .failing)
        // The failures that follow change nothing, and neither do other modes.
        store.record(.failure(reason: "still down"), for: url, at: moment(3))
        for (time, mode) in [(4.0, MetricsValidation.report), (6, .off), (8, .report), (10, .refuse)] {
            checker.setValidation(mode)
            #expect(run(at: time) == [] && run(at: time + 1) == [])
            #expect(try entry("t").condition == .failing && entry("t").check?.isValid == false && entry("t").isWithheld)
        }
        store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "t 1\n"))), for: url, at: moment(12))
        #expect(run(at: 13) == [.becameValid(try entry("t").name)])
        #expect(try entry("t").condition == .ok && !entry("t").isWithheld)
    }

    @Test("with refuse, metrics are not withheld for an error of those before them")
    func oldVerdict() throws {
        try push("a", "wrong\n", at: 0)
        try push("b", "wrong\n", at: 0)
        run(at: 0)
        try push("a", "a 1\n", at: 0.5)
        try push("b", "still wrong\n", at: 0.5)
        checker.setValidation(.refuse)
        #expect(run(at: 1) == [.becameValid(try entry("a").name)])
        #expect(exposed(at: 1) == "a 1\n")
    }

    @Test("with refuse, metrics are not withheld for an error of those before them while their own check is under way")
    func oldVerdictDuringACheck() throws {
        try push("a", "wrong\n", at: 0)
        run(at: 0)
        try push("a", "a 1\n", at: 2)
        let record = try #require(store.takeUnchecked().first)
        guard case .app(let app, _) = store.beginCheck(of: record, at: moment(3).instant, ifNotAfter: moment(2).instant) else {
            Issue.record("nothing to check")
            return
        }
        checker.setValidation(.refuse)
        store.setCheck(AppCheck(samples: 1, families: 1, findings: [], findingCount: 0), of: record, for: app)
        #expect(exposed(at: 3) == "a 1\n")
        #expect(try entry("a").condition == .ok)
    }

    @Test("no metrics are checked like others: behind metrics that have expired, and behind withheld ones")
    func emptyMetrics() throws {
        func pushNothing(_ name: String, at seconds: Double) throws {
            let app = (name: try #require(AppName(name)), exposition: Exposition.empty)
            try store.apply(Push(apps: [app]), from: .push(listener: "l"), at: moment(seconds))
        }
        store.setLimits(StoreLimits(expireAfter: .seconds(10)))
        try push("a", "x 1\nwrong\n", at: 0)
        run(at: 0)
        _ = store.snapshot(at: moment(20))
        #expect(try entry("a").condition == .expired)
        try pushNothing("a", at: 21)
        #expect(run(at: 22) == [.becameValid(try entry("a").name)])
        #expect(try entry("a").condition == .ok && entry("a").check?.samples == 0)

        try push("b", "wrong\n", at: 23)
        run(at: 24)
        checker.setValidation(.refuse)
        #expect(try entry("b").isWithheld)
        try pushNothing("b", at: 25)
        #expect(run(at: 26) == [.becameValid(try entry("b").name)])
        #expect(try entry("b").check?.samples == 0 && entry("b").condition == .ok)
        // Nothing has changed.
        #expect(run(at: 28) == [])
    }

    @Test("an app that becomes invalid in mode report, and valid in mode refuse before its next check, is told of once")
    func modeBetween() throws {
        try push("a", "wrong\n", at: 0)
        run(at: 0)
        checker.setValidation(.refuse)
        for (time, text) in [(2.0, "a 1\n"), (2.1, "a 2\n")] { try push("a", text, at: time) }
        #expect(run(at: 3) == [.becameValid(try entry("a").name)])
        #expect(run(at: 5) == [])
    }

    @Test("with refuse, a check of older metrics does not withhold newer ones")
    func lateVerdict() throws {
        checker.setValidation(.refuse)
        try push("a", "wrong\n", at: 0)
        let record = try #require(store.takeUnchecked().first)
        guard case .app(let old, _) = store.beginCheck(of: record, at: moment(0).instant, ifNotAfter: moment(0).instant) else {
            Issue.record("nothing to check")
            return
        }
        try push("a", "a 1\n", at: 1)
        let finding = Finding(severity: .error, line: 1, column: 1, message: "wrong")
        store.setCheck(AppCheck(samples: 0, families: 0, findings: [finding], findingCount: 1), of: record, for: old)
        #expect(exposed(at: 1) == "a 1\n")
        #expect(try entry("a").state == .ok)
    }

    @Test("with off, nothing is checked and nothing is known any more")
    func off() throws {
        try push("a", "wrong\n", at: 0)
        run(at: 0)
        checker.setValidation(.off)
        #expect(try entry("a").condition == .ok && entry("a").check == nil)
        try push("a", "wrong\nwrong\n", at: 2)
        #expect(run(at: 3) == [])
        checker.setValidation(.report)
        #expect(run(at: 4).count == 1)
        #expect(try entry("a").check?.findingCount == 2)
    }

    @Test("a target that fails keeps its verdict; one that has expired has none to show")
    func targets() throws {
        let url = TargetURL(origin: .http(host: "h", port: 1), pathAndQuery: "/")
        store.register(Target(url: url, name: try #require(AppName("t")), expireAfter: .seconds(60)))
        #expect(run(at: 0).isEmpty)
        #expect(try entry("t").condition == .waiting && entry("t").check == nil)
        store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "t wrong\n"))), for: url, at: moment(1))
        #expect(run(at: 1).count == 1)
        store.record(.failure(reason: "down"), for: url, at: moment(2))
        #expect(try entry("t").condition == .failing && entry("t").check?.isValid == false)
        #expect(run(at: 3).isEmpty)
        _ = store.snapshot(at: moment(100))
        #expect(try entry("t").condition == .expired)
    }

    @Test("findings of many apps are bounded, and the first error of each is kept")
    func bounded() throws {
        let text = String(repeating: "a{b=\"\\x\"} 1\n", count: 5) + String(repeating: "wrong\n", count: 30)
        let count = MetricsChecker.maxFindings / 2
        for index in 0..<count { try push("a\(index)", index == 0 ? text : "x 1\n", at: 0) }
        run(at: 0)
        let check = try #require(try entry("a0").check)
        #expect(check.findings.count == 2 && check.findingCount == 35 + 4 && !check.isValid)
        #expect(check.findings.allSatisfy { $0.severity == .error })
    }

    @Test("colliding series are counted and told once, with an example and the apps; then that there are none")
    func collisions() throws {
        try push("a", "go_goroutines 1\na 1\n", at: 0)
        try push("b", "go_goroutines 2\nb 1\n", at: 0)
        #expect(checker.collisions == nil)
        run(at: 0)
        // Changes that come together are searched together.
        #expect(checker.collisions == nil)
        #expect(run(at: 2.5) == [.collisionsBegan(count: 1, example: "go_goroutines", apps: ["a", "b"])])
        #expect(checker.collisions?.count == 1)
        // At most once a minute, and only when something has changed.
        try push("b", "b 1\n", at: 3)
        #expect(run(at: 10) == [])
        #expect(run(at: 62.4) == [])
        #expect(run(at: 62.5) == [.collisionsEnded])
        #expect(checker.collisions == Collisions.none)
        checker.setValidation(.off)
        #expect(checker.collisions == nil)
    }

    @Test("the example is a series of several apps, if there is one: app_label helps against it")
    func exampleOfSeveralApps() throws {
        try push("a", "twice 1\ntwice 2\nshared 1\n", at: 0)
        try push("b", "shared 2\n", at: 0)
        run(at: 0)
        #expect(run(at: 2.5) == [.collisionsBegan(count: 2, example: "shared", apps: ["a", "b"])])
    }

    @Test("a search under way when checks are switched off finds nothing")
    func searchIsOvertaken() throws {
        try push("a", "x 1\n", at: 0)
        try push("b", "x 2\n", at: 0)
        run(at: 0)
        for steps in 0..<5 {
            checker.setValidation(.report)
            checker.collect(at: moment(0).instant)
            while case .done = checker.next(at: moment(1).instant) {}
            for _ in 0..<steps { _ = checker.next(at: moment(10).instant) }
            let search = try #require(checker.takeSearch(at: moment(10).instant), "after \(steps) steps")
            checker.setValidation(.off)
            #expect(checker.step(search) == nil)
            #expect(checker.takeSearch(at: moment(20).instant) == nil)
            #expect(checker.collisions == nil)
            #expect(!String(buffer: metrics.exposition(limits: store.limits, at: moment(20)).buffer).contains("colliding_series"))
        }
    }
}
