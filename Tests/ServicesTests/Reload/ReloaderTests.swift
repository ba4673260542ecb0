import ConfigWatch
import Logging
import NIOCore
import Proxy
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("Reloader")
struct ReloaderTests {
    /// Stands in for the file and the daemon: counts, and can be held up.
    private final class Stage: Reloadable {
        struct State {
            var begun = 0
            var ended = 0
            /// The most that were under way at the same time.
            var mostAtOnce = 0
            var reads = 0
            var applied = 0
            var watched: [[String: FileWatcher.Reading]] = []
            var result: Result<LoadedConfig, ConfigProblems> = .success(
                LoadedConfig(config: Config(), origin: ConfigOrigin(file: "config.toml")))
            var isHeld = false
            /// As `isHeld`, after the reading.
            var isPreparationHeld = false
            var preparations = 0
            /// What runs: a reload that reads the same again changes nothing.
            var current: LoadedConfig?
        }

        let state = Mutex(State())
        let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }

        func reloader() -> Reloader { Reloader(self, metrics: metrics.reloads, logger: Logger(label: "test")) }

        func begins() {
            state.withLock { state in
                state.begun += 1
                state.mostAtOnce = max(state.mostAtOnce, state.begun - state.ended)
            }
        }

        func ended() { state.withLock { $0.ended += 1 } }

        func read() async -> ConfigReading {
            let result = state.withLock { state in
                state.reads += 1
                return state.result
            }
            // A test that fails before it lets go must not wait for ever.
            try? await wait(for: "the test to let go") { state.withLock { !$0.isHeld } }
            return ConfigReading(result: result, files: ["config.toml": .unreadable])
        }

        func prepare(_ loaded: LoadedConfig) async throws(ConfigProblems) -> PreparedConfig {
            state.withLock { $0.preparations += 1 }
            try? await wait(for: "the test to let go") { state.withLock { !$0.isPreparationHeld } }
            return try PreparedConfig(loaded)
        }

        func apply(_ prepared: PreparedConfig) -> ReloadPlan {
            let current = state.withLock { state in
                state.applied += 1
                return state.current
            }
            return ReloadPlan(from: current, to: prepared.loaded)
        }

        func watch(_ files: [String: FileWatcher.Reading]) { state.withLock { $0.watched.append(files) } }
    }

    private let stage = Stage()

    /// A reload that goes on reading until `isHeld` is false.
    private func heldReload(of reloader: Reloader) async throws -> Task<ReloadResult, Never> {
        stage.state.withLock { $0.isHeld = true }
        let reload = Task { await reloader.reload(because: .signal) }
        try await wait(for: "it to read") { stage.state.withLock { $0.reads == 1 } }
        return reload
    }

    @Test("reads, applies, and watches what was read")
    func once() async {
        let result = await stage.reloader().reload(because: .signal)
        guard case .success = result else { return #expect(Bool(false), "\(result)") }
        stage.state.withLock { state in
            #expect(state.reads == 1)
            #expect(state.applied == 1)
            #expect(state.watched == [["config.toml": .unreadable]])
        }
    }

    @Test("each is counted, with its result, and the reason of the last one when it was refused")
    func counted() async {
        let reloader = stage.reloader()
        await reloader.reload(because: .signal)
        let problem = ConfigProblem(file: "config.toml", position: nil, key: nil, message: "no")
        let good = stage.state.withLock { state in
            defer { state.result = .failure(ConfigProblems([problem])) }
            return state.result
        }
        let first = stage.metrics.reloads.now
        #expect(first.successes == 1 && first.failures == 0 && first.last?.error == nil)
        #expect(first.lastSuccess > Timestamp(nanoseconds: 0))
        await reloader.reload(because: .signal)
        let second = stage.metrics.reloads.now
        #expect(second.successes == 1 && second.failures == 1 && second.lastSuccess == first.lastSuccess)
        #expect(second.last?.error == ConfigProblems([problem]).description)
        stage.state.withLock { $0.result = good }
        await reloader.reload(because: .signal)
        #expect(stage.metrics.reloads.now.last?.error == nil)
    }

    @Test("reloads that change nothing are logged as often as their limit admits, and all others always")
    func unchanged() async {
        let log = LogLines()
        let reloader = Reloader(
            stage, metrics: stage.metrics.reloads, logger: log.logger, unchanged: LogLimiter(burst: 2, each: .hours(1)))
        await reloader.reload(because: .signal)
        stage.state.withLock { $0.current = LoadedConfig(config: Config(), origin: ConfigOrigin(file: "config.toml")) }
        for _ in 1...5 { await reloader.reload(because: .request) }
        stage.state.withLock { $0.current = nil }
        await reloader.reload(because: .signal)
        let unchanged = "info configuration read again: no changes trigger=POST /-/reload"
        #expect(log.all.filter { $0 == unchanged }.count == 2, "\(log.all)")
        #expect(log.all.filter { $0.hasPrefix("info configuration reloaded ") }.count == 2, "\(log.all)")
    }

    @Test("refusals for one reason are logged as often as the limit admits, and what is new always: another reason, or a repair")
    func refusals() async {
        let log = LogLines()
        let reloader = Reloader(
            stage, metrics: stage.metrics.reloads, logger: log.logger, unchanged: LogLimiter(burst: 2, each: .hours(1)))
        for reason in ["one", "two"] {
            let problem = ConfigProblem(file: "config.toml", position: nil, key: nil, message: reason)
            stage.state.withLock { $0.result = .failure(ConfigProblems([problem])) }
            for _ in 1...5 { await reloader.reload(because: .request) }
        }
        // The first one, and the two that the limit admits.
        #expect(log.all.filter { $0.hasPrefix("error config.toml: error: one") }.count == 3, "\(log.all)")
        #expect(log.all.filter { $0.hasPrefix("error config.toml: error: two") }.count == 1, "\(log.all)")
        #expect(log.all.filter { $0.hasPrefix("error configuration not reloaded") }.count == 4, "\(log.all)")
        let repaired = LoadedConfig(config: Config(), origin: ConfigOrigin(file: "config.toml"))
        stage.state.withLock { state in
            state.result = .success(repaired)
            state.current = repaired
        }
        await reloader.reload(because: .request)
        #expect(log.all.last == "info configuration read again: no changes trigger=POST /-/reload")
    }

    @Test("the warning of a certificate is logged when it is new, also beyond the limit, and repeated only within it")
    func certificates() async throws {
        let certificate = try ThrowawayCA().serverCertificate(validity: .expired)
        try await withTemporaryFolder { folder in
            try folder.write("cert.pem", certificate.chainPEM)
            try folder.write("key.pem", certificate.privateKeyPEM, mode: 0o600)
            let log = LogLines()
            let reloader = Reloader(
                stage, metrics: stage.metrics.reloads, logger: log.logger, unchanged: LogLimiter(burst: 2, each: .hours(1)))
            for tls in ["", "[exporter.tls_server_config]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n"] {
                try folder.write("config.toml", "[exporter]\nself_metrics = true\n" + tls)
                let loaded = try ConfigLoader(file: folder.path("config.toml")).load()
                stage.state.withLock { state in
                    state.result = .success(loaded)
                    state.current = loaded
                }
                for _ in 1...5 { await reloader.reload(because: .request) }
            }
            #expect(log.all.filter { $0.contains("has expired on ") }.count == 1, "\(log.all)")
        }
    }

    @Test("calls during a reload share the next one")
    func sharing() async throws {
        let reloader = stage.reloader()
        let first = try await heldReload(of: reloader)
        await withTaskGroup(of: ReloadResult.self) { group in
            for _ in 0..<50 { group.addTask { await reloader.reload(because: .request) } }
            // All of them have asked before the first goes on, or at least some: none may cause more than one.
            await Task.yield()
            stage.state.withLock { $0.isHeld = false }
            for await _ in group {}
        }
        _ = await first.value
        let reads = stage.state.withLock { $0.reads }
        #expect((2...4).contains(reads), "\(reads)")
    }

    @Test("a reload begins when the one before has ended")
    func oneAtATime() async throws {
        let reloader = stage.reloader()
        let first = try await heldReload(of: reloader)
        async let second = reloader.reload(because: .request)
        for _ in 0..<1000 { await Task.yield() }
        #expect(stage.state.withLock { $0.begun } == 1)
        stage.state.withLock { $0.isHeld = false }
        _ = await (first.value, second)
        stage.state.withLock { state in
            #expect(state.reads == 2 && state.ended == 2)
            #expect(state.mostAtOnce == 1)
        }
    }

    @Test("a reading that began before the trigger does not answer it")
    func fresh() async throws {
        let reloader = stage.reloader()
        let first = try await heldReload(of: reloader)
        let problem = ConfigProblem(file: "config.toml", position: nil, key: nil, message: "broken")
        stage.state.withLock { $0.result = .failure(ConfigProblems([problem])) }
        async let second = reloader.reload(because: .request)
        stage.state.withLock { $0.isHeld = false }
        guard case .success = await first.value else { return #expect(Bool(false), "the first read the good file") }
        #expect(await second == .failure(reason: "config.toml: error: broken"))
    }

    @Test("a configuration that cannot be read is not applied, but watched for the next save")
    func failure() async {
        let problem = ConfigProblem(file: "config.toml", position: ConfigPosition(line: 1, column: 2), key: nil, message: "broken")
        stage.state.withLock { $0.result = .failure(ConfigProblems([problem])) }
        #expect(await stage.reloader().reload(because: .signal) == .failure(reason: "config.toml:1:2: error: broken"))
        stage.state.withLock { state in
            #expect(state.applied == 0)
            #expect(state.watched.count == 1)
            #expect(state.begun == 1 && state.ended == 1)
        }
    }

    @Test("after a stop nothing is applied, not even what was being read")
    func stop() async throws {
        let reloader = stage.reloader()
        let running = try await heldReload(of: reloader)
        await reloader.stop()
        stage.state.withLock { $0.isHeld = false }
        #expect(await running.value == .failure(reason: "exporter-proxy is stopping"))
        #expect(await reloader.reload(because: .request) == .failure(reason: "exporter-proxy is stopping"))
        #expect(stage.state.withLock { $0.applied } == 0)
    }

    @Test("a stop does not wait while an account or a path of the new configuration is looked up, and nothing is applied")
    func stopWhilePreparing() async throws {
        let reloader = stage.reloader()
        stage.state.withLock { $0.isPreparationHeld = true }
        let running = Task { await reloader.reload(because: .signal) }
        try await wait(for: "it to prepare") { stage.state.withLock { $0.preparations == 1 } }
        // The test would stop here.
        await reloader.stop()
        stage.state.withLock { $0.isPreparationHeld = false }
        #expect(await running.value == .failure(reason: "exporter-proxy is stopping"))
        #expect(stage.state.withLock { $0.applied } == 0)
    }

    @Test("a reload that waits for another when the program stops does not begin")
    func stopWhileWaiting() async throws {
        let reloader = stage.reloader()
        let running = try await heldReload(of: reloader)
        async let waiting = reloader.reload(because: .request)
        for _ in 0..<1000 { await Task.yield() }
        await reloader.stop()
        stage.state.withLock { $0.isHeld = false }
        #expect(await running.value == .failure(reason: "exporter-proxy is stopping"))
        #expect(await waiting == .failure(reason: "exporter-proxy is stopping"))
        #expect(stage.state.withLock { $0.begun } == 1)
    }
}
