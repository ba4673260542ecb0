import ConfigWatch
import Logging
import Proxy

/// The cause of a reload, for the log.
enum ReloadTrigger: Equatable, Sendable, CustomStringConvertible {
    /// The bytes of these watched files have changed.
    case change(of: Set<String>)
    case signal
    case request

    var description: String {
        switch self {
        case .change(let paths): "change of \(paths.sorted().joined(separator: ", "))"
        case .signal: "SIGHUP"
        case .request: "POST /-/reload"
        }
    }
}

/// The program that a `Reloader` reloads.
protocol Reloadable: Sendable {
    /// A reload begins. One of `ended` follows, unless the program stops.
    func begins()
    /// The reload has succeeded or failed, and the metrics have its result.
    func ended() async
    /// Reads the configuration and all files that it names.
    func read() async -> ConfigReading
    /// Makes everything that can be made of it before anything is opened. As with `read`, files, accounts or certificates may not answer.
    /// - Throws: every problem found.
    func prepare(_ loaded: LoadedConfig) async throws(ConfigProblems) -> PreparedConfig
    /// Puts the configuration in force as a whole, or changes nothing and throws.
    func apply(_ prepared: PreparedConfig) async throws(ConfigProblems) -> ReloadPlan
    /// Watches the files that were read last, also after a failed reload.
    func watch(_ files: [String: FileWatcher.Reading])
}

/// Runs one reload at a time. All triggers that come while one runs share the next one.
actor Reloader {
    /// How a reload ended.
    private enum Outcome: Equatable {
        case applied(warnings: [String])
        case refused(reason: String)
    }

    private let program: any Reloadable
    private let metrics: ReloadMetrics
    private let clock: @Sendable () -> Timestamp
    private let logger: Logger
    /// For reloads that change nothing and end as the one before: programs can cause thousands a second.
    private let unchanged: LogLimiter
    private var last: Outcome?
    private var running: Task<ReloadResult, Never>?
    /// The reload that was requested while another runs, and has not begun.
    private var next: Task<ReloadResult, Never>?
    /// The causes of the next one.
    private var triggers: [ReloadTrigger] = []
    /// The part of a reload that changes what runs.
    private var applying: Task<Result<ReloadPlan, ConfigProblems>, Never>?
    private var isStopped = false

    private static let stopping = ReloadResult.failure(reason: "exporter-proxy is stopping")

    /// - Parameters:
    ///   - metrics: count each reload and keep its result, for `/metrics` and `/apps`.
    ///   - logger: gets the result too. If it is that of the reload before and nothing has changed, `unchanged` may forbid it.
    init(
        _ program: any Reloadable, metrics: ReloadMetrics, clock: @escaping @Sendable () -> Timestamp = SystemClock.time, logger: Logger,
        unchanged: LogLimiter = LogLimiter(burst: 100)
    ) {
        self.program = program
        self.metrics = metrics
        self.clock = clock
        self.logger = logger
        self.unchanged = unchanged
    }

    /// Reloads, from a reading that begins after this call.
    @discardableResult
    func reload(because trigger: ReloadTrigger) async -> ReloadResult {
        guard !isStopped else { return Self.stopping }
        triggers.append(trigger)
        if let next { return await next.value }
        let before = running
        let task = Task {
            _ = await before?.value
            return await self.run()
        }
        next = task
        return await task.value
    }

    /// Applies no further configuration, and waits for the one that is being applied. It does not wait for one that is being read or
    /// prepared: nothing has changed yet, and what the configuration names may not answer.
    func stop() async {
        isStopped = true
        _ = await applying?.value
    }

    private func run() async -> ReloadResult {
        running = next
        next = nil
        let trigger = triggers.map(\.description).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }.joined(separator: "; ")
        triggers = []
        // It may have waited for the reload before.
        guard !isStopped else { return Self.stopping }
        let start = ContinuousClock.now
        program.begins()
        let reading = await program.read()
        guard !isStopped else { return Self.stopping }
        let result: Result<ReloadPlan, ConfigProblems>
        var warnings: [ConfigProblem] = []
        do throws(ConfigProblems) {
            let prepared = try await program.prepare(reading.result.get())
            guard !isStopped else { return Self.stopping }
            warnings = (prepared.loaded.warnings + prepared.contexts.warnings).inOrderOfPosition.limited
            result = .success(try await apply(prepared))
        } catch {
            result = .failure(error)
        }
        // Last, because it reports changes since the files were read.
        program.watch(reading.files)
        switch result {
        case .success(let plan):
            metrics.succeeded(at: clock())
            await program.ended()
            log(plan, warnings: warnings, trigger: trigger, took: .now - start)
            return .success(plan)
        case .failure(let problems):
            let reason = problems.description
            metrics.failed(reason, at: clock())
            await program.ended()
            if let metadata = admit(trigger, of: .refused(reason: reason), hasChanges: false) {
                for problem in problems.problems.limited { logger.log(problem) }
                logger.error("configuration not reloaded: the previous one stays in force", metadata: metadata)
            }
            return .failure(reason: reason)
        }
    }

    private func apply(_ prepared: PreparedConfig) async throws(ConfigProblems) -> ReloadPlan {
        let task = Task { [program] in
            do throws(ConfigProblems) { return Result<ReloadPlan, ConfigProblems>.success(try await program.apply(prepared)) } catch {
                return .failure(error)
            }
        }
        applying = task
        defer { applying = nil }
        return try await task.value.get()
    }

    private func log(_ plan: ReloadPlan, warnings: [ConfigProblem], trigger: String, took: Duration) {
        let hasChanges = !plan.isEmpty || !plan.changes.isEmpty
        let outcome = Outcome.applied(warnings: warnings.map(\.description) + plan.needsRestart)
        guard var metadata = admit(trigger, of: outcome, hasChanges: hasChanges) else { return }
        for warning in warnings { logger.log(warning) }
        for change in plan.changes { logger.info("\(change)") }
        for key in plan.needsRestart {
            logger.warning("\(key) is not what runs: it takes effect with the next start", metadata: [LogKey.key: "\(key)"])
        }
        if hasChanges {
            metadata[LogKey.duration] = "\(took.logText)"
            logger.info("configuration reloaded", metadata: metadata)
        } else {
            logger.info("configuration read again: no changes", metadata: metadata)
        }
    }

    /// The metadata of a reload's last line; `nil` if the log gets no line of it. What is new is always logged.
    private func admit(_ trigger: String, of outcome: Outcome, hasChanges: Bool) -> Logger.Metadata? {
        var metadata: Logger.Metadata = [LogKey.trigger: "\(trigger)"]
        defer { last = outcome }
        if !hasChanges, outcome == last {
            guard let suppressed = unchanged.admit() else { return nil }
            if suppressed > 0 { metadata[LogKey.suppressed] = "\(suppressed)" }
        }
        return metadata
    }
}
