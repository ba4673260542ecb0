import ConfigWatch
import Logging
import Proxy

/// Why a reload is asked for, as the log says it.
enum ReloadTrigger: Equatable, Sendable, CustomStringConvertible {
    /// A watched file has other bytes.
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

/// What a `Reloader` reads, and what it applies it to.
protocol Reloadable: Sendable {
    /// A reload begins. One of `ended` follows, unless the program stops.
    func begins() async
    /// The reload has ended, well or not, and its result is known to the metrics.
    func ended() async
    /// The configuration and all that it names, as they are now.
    func read() async -> ConfigReading
    /// All or nothing.
    func apply(_ loaded: LoadedConfig) async throws(ConfigProblems) -> ReloadPlan
    /// Watches what was read last, whatever became of it.
    func watch(_ files: [String: FileWatcher.Reading])
}

/// Every trigger ends here: one reload at a time. All callers that ask while one runs share the next one.
actor Reloader {
    private let program: any Reloadable
    private let metrics: ReloadMetrics
    private let clock: @Sendable () -> Timestamp
    private let logger: Logger
    private var running: Task<ReloadResult, Never>?
    /// Asked for while another runs, and not begun.
    private var next: Task<ReloadResult, Never>?
    /// Why the next one is asked for.
    private var triggers: [ReloadTrigger] = []
    /// The part of a reload that changes what runs.
    private var applying: Task<Result<ReloadPlan, ConfigProblems>, Never>?
    private var isStopped = false

    /// - Parameter metrics: hear how each one went, for `/metrics` and `/apps`.
    init(
        _ program: any Reloadable, metrics: ReloadMetrics, clock: @escaping @Sendable () -> Timestamp = SystemClock.time, logger: Logger
    ) {
        self.program = program
        self.metrics = metrics
        self.clock = clock
        self.logger = logger
    }

    /// Reloads, from a reading that begins after this call.
    @discardableResult
    func reload(because trigger: ReloadTrigger) async -> ReloadResult {
        guard !isStopped else { return .failure(reason: "exporter-proxy is stopping") }
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

    /// Applies nothing more, and waits for what is being applied; a reading that takes its time holds up no stop.
    func stop() async {
        isStopped = true
        _ = await applying?.value
    }

    private func run() async -> ReloadResult {
        running = next
        next = nil
        let trigger = triggers.map(\.description).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }.joined(separator: "; ")
        triggers = []
        let start = ContinuousClock.now
        await program.begins()
        let reading = await program.read()
        guard !isStopped else { return .failure(reason: "exporter-proxy is stopping") }
        let result: Result<ReloadPlan, ConfigProblems>
        switch reading.result {
        case .success(let loaded):
            let task = Task { [program] in
                do throws(ConfigProblems) { return Result<ReloadPlan, ConfigProblems>.success(try await program.apply(loaded)) } catch {
                    return .failure(error)
                }
            }
            applying = task
            result = await task.value
            applying = nil
        case .failure(let problems): result = .failure(problems)
        }
        // Last: what changed since it was read is noticed now.
        program.watch(reading.files)
        switch result {
        case .success(let plan):
            metrics.succeeded(at: clock())
            if !isStopped { await program.ended() }
            log(plan, warnings: (try? reading.result.get().warnings) ?? [], trigger: trigger, took: .now - start)
            return .success(plan)
        case .failure(let problems):
            metrics.failed(problems.description, at: clock())
            if !isStopped { await program.ended() }
            for problem in problems.problems { logger.log(problem) }
            logger.error("configuration not reloaded: what ran before still runs", metadata: [LogKey.trigger: "\(trigger)"])
            return .failure(reason: problems.description)
        }
    }

    private func log(_ plan: ReloadPlan, warnings: [ConfigProblem], trigger: String, took: Duration) {
        for warning in warnings { logger.log(warning) }
        for change in plan.changes { logger.info("\(change)") }
        for key in plan.needsRestart {
            logger.warning("\(key) has changed: it takes effect with the next start", metadata: [LogKey.key: "\(key)"])
        }
        var metadata: Logger.Metadata = [LogKey.trigger: "\(trigger)"]
        if plan.isEmpty {
            logger.info("configuration read again: nothing to do", metadata: metadata)
        } else {
            metadata[LogKey.duration] = "\(took.components.seconds * 1000 + took.components.attoseconds / 1_000_000_000_000_000)ms"
            logger.info("configuration reloaded", metadata: metadata)
        }
    }
}
