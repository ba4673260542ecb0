import Foundation
import NIOCore
import Testing

@testable import Proxy

@Suite("Self-metrics")
struct SelfMetricsTests {
    private static let start = Timestamp(nanoseconds: 1_653_263_500_250_000_000)
    private static let figures = ProcessFigures(
        cpuNanoseconds: 1_230_000_000, openFiles: 12, maxFiles: 1024, virtualBytes: 1 << 30, residentBytes: 20 << 20,
        startTime: Timestamp(nanoseconds: 1_653_263_499_980_000_000), threads: 5)

    private let metrics = SelfMetrics(version: "1.2.3", start: start, readLag: { .microseconds(12_345) }) { figures }

    private func target(_ name: String) throws -> Target {
        Target(url: TargetURL(origin: .http(host: name, port: 1), pathAndQuery: "/"), name: try #require(AppName(name)))
    }

    /// What is exposed besides the lines of single apps; `second` later than the start, so that nothing is remembered.
    private func exposed(after second: Int = 0) throws -> ExposedFamilies {
        let now = Self.start.advanced(by: .seconds(second)).moment
        metrics.readProcess(at: now)
        let exposition = metrics.exposition(limits: StoreLimits(), at: now)
        return try ExposedFamilies(String(buffer: exposition.buffer))
    }

    @Test("without listeners and targets there is what every process has")
    func bare() throws {
        let families = try exposed()
        #expect(families[#"build_info{version="1.2.3"}"#] == "1")
        #expect(families["config_last_reload_successful"] == "1")
        #expect(families["config_last_reload_success_timestamp_seconds"] == "1653263500.25")
        #expect(families[#"config_reloads_total{result="success"}"#] == "0")
        #expect(families[#"config_reloads_total{result="failure"}"#] == "0")
        #expect(families["apps_limit"] == "100000")
        #expect(families["stored_bytes_limit"] == "1073741824")
        #expect(families["process_cpu_seconds_total"] == "1.23")
        #expect(families["process_open_fds"] == "12")
        #expect(families["process_max_fds"] == "1024")
        #expect(families["process_virtual_memory_bytes"] == "1073741824")
        #expect(families["process_resident_memory_bytes"] == "20971520")
        #expect(families["process_start_time_seconds"] == "1653263499.98")
        #expect(families["process_threads"] == "5")
        #expect(families.families.allSatisfy { !$0.samples.isEmpty && !$0.help.isEmpty })
        #expect(families.labels(of: "http_requests_total") == [#"{path="/metrics",code="200"}"#])
    }

    @Test("the delay of event loops is there where it is measured")
    func lag() throws {
        let families = try exposed()
        #expect(families["event_loop_lag_seconds"] == "0.012345")
        let unmeasured = SelfMetrics(version: "1", start: Self.start) { nil }
        let exposition = unmeasured.exposition(limits: StoreLimits(), at: Self.start.moment)
        let others = try ExposedFamilies(String(buffer: exposition.buffer))
        #expect(others["event_loop_lag_seconds"] == nil)
    }

    @Test("a listener of another kind that takes a name hides the one that has it, until it is gone")
    func sameName() {
        let running = metrics.addListener("127.0.0.1:1", .receiver)
        let other = metrics.addListener("127.0.0.1:2", .receiver)
        let new = metrics.addListener("127.0.0.1:1", .httpReceiver)
        #expect(metrics.currentListeners.map(ObjectIdentifier.init) == [new, other].map(ObjectIdentifier.init))
        // As when a reload is refused.
        metrics.remove(new)
        #expect(metrics.currentListeners.map(ObjectIdentifier.init) == [running, other].map(ObjectIdentifier.init))
        #expect(metrics.addListener("127.0.0.1:1", .receiver) === running)
    }

    @Test("a listener counts connections, messages by format and by reason")
    func receiver() throws {
        let listener = metrics.addListener("/run/\"a\\b\".sock", .receiver)
        listener.connections.add(3)
        listener.connections.add(-1)
        listener.countReceived(.json)
        listener.countReceived(.json)
        listener.countRejected(.storeFull(limit: ByteCount(1)))
        let families = try exposed()
        let label = #"listener="/run/\"a\\b\".sock""#
        #expect(families["connections{\(label)}"] == "2")
        #expect(families["connections_rejected_total{\(label)}"] == "0")
        #expect(families["received_messages_total{\(label),format=\"json\"}"] == "2")
        #expect(families["received_messages_total{\(label),format=\"capnp\"}"] == "0")
        #expect(families["rejected_messages_total{\(label),reason=\"store_full\"}"] == "1")
        #expect(families["rejected_messages_total{\(label),reason=\"malformed\"}"] == "0")
        #expect(families.labels(of: "rejected_messages_total").count == Rejection.Reason.allCases.count)
        #expect(families.labels(of: "tls_handshakes_total").isEmpty)
    }

    @Test("a scrape listener has no messages; with TLS it has handshakes and the end of its certificate")
    func scrapeListener() throws {
        let listener = metrics.addListener("0.0.0.0:6555", .scrape)
        listener.rejectedConnections.increment()
        listener.setCertificate(notAfter: 1_700_000_000, revocationsEnd: 1_600_000_000)
        listener.handshakeSucceeded()
        listener.handshakeFailed(reason: "timeout")
        listener.handshakeFailed(reason: "timeout")
        listener.handshakeFailed(reason: "closed")
        var families = try exposed()
        #expect(families[#"connections_rejected_total{listener="0.0.0.0:6555"}"#] == "1")
        #expect(families.labels(of: "received_messages_total").isEmpty)
        #expect(families[#"tls_handshakes_total{listener="0.0.0.0:6555",result="success"}"#] == "1")
        #expect(families[#"tls_handshakes_total{listener="0.0.0.0:6555",result="failure"}"#] == "3")
        #expect(families[#"tls_handshake_failures_total{listener="0.0.0.0:6555",reason="timeout"}"#] == "2")
        #expect(families[#"tls_handshake_failures_total{listener="0.0.0.0:6555",reason="closed"}"#] == "1")
        #expect(families[#"tls_certificate_not_after_timestamp_seconds{listener="0.0.0.0:6555"}"#] == "1700000000")
        #expect(families[#"tls_crl_next_update_timestamp_seconds{listener="0.0.0.0:6555"}"#] == "1600000000")
        listener.setCertificate(notAfter: nil, revocationsEnd: nil)
        families = try exposed(after: 1)
        #expect(families.labels(of: "tls_certificate_not_after_timestamp_seconds").isEmpty)
        #expect(families.labels(of: "tls_crl_next_update_timestamp_seconds").isEmpty)
    }

    @Test("the series of a listener go with it; two of one name share them until both are gone")
    func removedListener() throws {
        let first = metrics.addListener("a", .receiver)
        let second = metrics.addListener("a", .receiver)
        #expect(first === second)
        metrics.remove(first)
        #expect(try exposed(after: 1).labels(of: "connections") == [#"{listener="a"}"#])
        metrics.remove(second)
        #expect(try exposed(after: 2).labels(of: "connections").isEmpty)
        // One too many does not take those of a listener that came later.
        let third = metrics.addListener("a", .receiver)
        metrics.remove(second)
        #expect(third !== first)
        #expect(try exposed(after: 3).labels(of: "connections") == [#"{listener="a"}"#])
    }

    @Test("a target has its last poll and its counts; before its first poll has ended, the counts alone")
    func target() throws {
        let target = try target("b\"")
        let polls = metrics.addTarget(target)
        polls.setCertificate(notAfter: 1_700_000_000)
        _ = metrics.addTarget(try self.target("a"))
        #expect(try exposed().labels(of: "poll_up").isEmpty)
        polls.ended(.success(.empty), after: .milliseconds(12))
        polls.ended(.failure(reason: "x"), after: .nanoseconds(1_000_000_001))
        let families = try exposed(after: 1)
        #expect(families[#"poll_up{target="b\""}"#] == "0")
        #expect(families[#"poll_duration_seconds{target="b\""}"#] == "1.000000001")
        #expect(families[#"polls_total{target="b\"",result="success"}"#] == "1")
        #expect(families[#"polls_total{target="b\"",result="failure"}"#] == "1")
        #expect(families[#"polls_total{target="a",result="failure"}"#] == "0")
        #expect(families[#"poll_certificate_not_after_timestamp_seconds{target="b\""}"#] == "1700000000")
        #expect(families.labels(of: "poll_certificate_not_after_timestamp_seconds").count == 1)
        #expect(families.labels(of: "poll_up").count == 1)

        var renamed = target
        renamed.name = try #require(AppName("c"))
        #expect(metrics.addTarget(renamed) === polls)
        #expect(try exposed(after: 2).labels(of: "poll_up") == [#"{target="c"}"#])
        metrics.removeTarget(target.url)
        #expect(try exposed(after: 3).labels(of: "polls_total").count == 2)
    }

    @Test("requests are counted by route and code; whatever is no route is other")
    func requests() throws {
        metrics.requests.count(path: "/metrics", code: 200)
        metrics.requests.count(path: "/metrics", code: 503)
        metrics.requests.count(path: "/nothing", code: 404)
        metrics.requests.count(path: "/metrics/", code: 404)
        metrics.requests.count(path: nil, code: 400)
        metrics.requests.count(path: "/apps/some/app", code: 204)
        let families = try exposed()
        #expect(families[#"http_requests_total{path="/metrics",code="200"}"#] == "1")
        #expect(families[#"http_requests_total{path="/metrics",code="503"}"#] == "1")
        #expect(families[#"http_requests_total{path="other",code="404"}"#] == "2")
        #expect(families[#"http_requests_total{path="other",code="400"}"#] == "1")
        #expect(families[#"http_requests_total{path="/apps/NAME",code="204"}"#] == "1")
        #expect(families.labels(of: "http_requests_total").count == 5)
    }

    @Test("reloads tell the last result and when the configuration that runs was loaded")
    func reloads() throws {
        metrics.reloads.failed("no", at: Self.start.advanced(by: .seconds(5)))
        var families = try exposed()
        #expect(families["config_last_reload_successful"] == "0")
        #expect(families["config_last_reload_success_timestamp_seconds"] == "1653263500.25")
        #expect(families[#"config_reloads_total{result="failure"}"#] == "1")
        #expect(metrics.reloads.now.last?.error == "no")
        metrics.reloads.succeeded(at: Self.start.advanced(by: .seconds(10)))
        families = try exposed(after: 1)
        #expect(families["config_last_reload_successful"] == "1")
        #expect(families["config_last_reload_success_timestamp_seconds"] == "1653263510.25")
        #expect(families[#"config_reloads_total{result="success"}"#] == "1")
    }

    @Test("the process is read at most once a second, the text written at most once in two milliseconds")
    func ages() throws {
        let readings = Counter()
        let metrics = SelfMetrics(version: "1", start: Self.start) {
            readings.increment()
            return Self.figures
        }
        func ask(_ milliseconds: Int) -> Exposition {
            let now = Self.start.advanced(by: .milliseconds(milliseconds)).moment
            metrics.readProcess(at: now)
            return metrics.exposition(limits: StoreLimits(), at: now)
        }
        #expect(metrics.needsReading(at: Self.start.moment))
        let first = ask(0)
        #expect(ask(1) === first)
        #expect(!(ask(2) === first))
        _ = ask(999)
        #expect(readings.value == 1)
        #expect(metrics.needsReading(at: Self.start.advanced(by: .seconds(1)).moment))
        _ = ask(1000)
        #expect(readings.value == 2)
        // Setting the wall clock makes nothing newer or older.
        let set = Moment(time: Timestamp(nanoseconds: 0), instant: Self.start.advanced(by: .milliseconds(1001)).moment.instant)
        #expect(!metrics.needsReading(at: set))
        #expect(metrics.exposition(limits: StoreLimits(), at: set) === ask(1001))
    }

    @Test("what the process is, when that cannot be read, is left out")
    func noFigures() throws {
        let metrics = SelfMetrics(version: "1", start: Self.start) { nil }
        metrics.readProcess(at: Self.start.moment)
        let text = String(buffer: metrics.exposition(limits: StoreLimits(), at: Self.start.moment).buffer)
        #expect(!text.contains("process_"))
        _ = try ExposedFamilies(text)
    }

    @Test("docs/metrics.md lists each metric with its type and labels, and no other")
    func documented() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../..").standardized
        let page = try String(contentsOf: root.appending(path: "docs/metrics.md"), encoding: .utf8)
        let listed = page.matches(of: #/\| `(exporter_proxy_[a-z_]+)(?:{([a-z,]+)})?` \| (counter|gauge) \|/#).map {
            "\($0.1) \($0.2 ?? "") \($0.3)"
        }
        #expect(listed.sorted() == OwnFamily.all.map { "\($0.name) \($0.labels.joined(separator: ",")) \($0.kind.rawValue)" }.sorted())
        for reason in Rejection.Reason.allCases { #expect(page.contains("`\(reason.rawValue)`"), "\(reason)") }
    }

    @Test("the state file is there as long as one is configured")
    func stateFile() throws {
        #expect(try exposed()["state_last_write_successful"] == nil)
        metrics.stateFile.setExists(true)
        var families = try exposed(after: 1)
        #expect(families["state_last_write_successful"] == "1" && families["state_last_write_timestamp_seconds"] == nil)
        metrics.stateFile.ended(successfully: true, at: Self.start)
        metrics.stateFile.ended(successfully: false, at: Self.start.advanced(by: .seconds(1)))
        families = try exposed(after: 2)
        #expect(families["state_last_write_successful"] == "0")
        #expect(families["state_last_write_timestamp_seconds"] == "1653263500.25")
        #expect(families[#"state_writes_total{result="failure"}"#] == "1")
        metrics.stateFile.setExists(false)
        #expect(try exposed(after: 3)["state_last_write_successful"] == nil)
    }

    @Test("every family that is exposed is one of those listed")
    func complete() throws {
        let listener = metrics.addListener("a", .receiver)
        listener.setCertificate(notAfter: 1, revocationsEnd: 1)
        listener.handshakeFailed(reason: "timeout")
        let polls = metrics.addTarget(try target("a"))
        polls.ended(.success(.empty), after: .zero)
        polls.setCertificate(notAfter: 1)
        metrics.stateFile.ended(successfully: true, at: Self.start)
        let store = MetricStore()
        let checker = MetricsChecker(store: store, metrics: metrics)
        checker.setValidation(.report)
        let apps = AppMetrics.of(store.snapshot(at: Self.start), metrics.lineGroups).expositions.map { String(buffer: $0.buffer) }.joined()
        var names = try (exposed().families + ExposedFamilies(apps).families).map(\.name)
        try store.apply(Push(apps: [(#require(AppName("a")), .empty)]), from: .push(listener: "a"), at: Self.start)
        checker.collect(at: Self.start.moment.instant)
        while case .done = checker.next(at: Self.start.moment.instant) {}
        let more = AppMetrics.of(store.snapshot(at: Self.start), metrics.lineGroups).expositions.map { String(buffer: $0.buffer) }.joined()
        names += try ExposedFamilies(more).families.map(\.name)
        #expect(Set(names) == Set(OwnFamily.all.map(\.name)))
    }
}
