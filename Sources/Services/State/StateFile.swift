import Glibc
import Logging
import NIOCore
import Proxy
import Synchronization

/// Keeps pushed apps across a restart of the program: reads them at the start, writes them at the stop and every `state_interval`.
///
/// A push is on disk after `state_interval` and the time of one write, and after a clean stop. A crash loses the pushes since the last
/// write. A file that cannot be read is moved to `FILE.broken`, and the program starts without its apps. If it cannot be moved, the start
/// fails: the next write would destroy the file.
///
/// A thread reads and writes the file, from a snapshot, without a copy of the whole.
final class StateFile: Part {
    private struct State {
        /// Whether a start or a reload was committed.
        var hasStarted = false
        var file: SavedFile?
        var interval = Duration.seconds(300)
        /// Writes the file periodically.
        var writing: Task<Void, Never>?
        /// The state of the store that the file holds, by `MetricStore.pushedGeneration`; `nil` before the first write.
        var written: UInt64?
        /// The error of the last write, if that failed. The log has it once.
        var failure: String?
    }

    private let intake: Intake
    private let metrics: StateFileMetrics
    private let logger: Logger
    private let thread = ThreadPool("state file")
    private let blockingWork: ThreadPool
    private let group: any EventLoopGroup
    /// Guards the file and the task that writes it.
    private let state = Mutex(State())
    /// Whether the start that reads the file is to end.
    private let isCancelled = Atomic(false)

    /// - Parameters:
    ///   - intake: takes the apps that are read. The apps of its store are written.
    ///   - blockingWork: writes the file at the stop. Its owner ends it after this part.
    ///   - group: has the timer of the interval.
    init(_ intake: Intake, metrics: StateFileMetrics, blockingWork: ThreadPool, group: any EventLoopGroup, logger: Logger) {
        self.group = group
        self.blockingWork = blockingWork
        self.intake = intake
        self.metrics = metrics
        self.logger = logger
    }

    private static let stopping = SavedFileError.system("exporter-proxy is stopping")

    // MARK: - A start and a reload

    /// A start that is cancelled leaves the file as it was.
    func prepare(_ new: PreparedConfig, _ plan: ReloadPlan) async throws(ConfigProblems) -> PreparedPart {
        let (hasStarted, current) = state.withLock { ($0.hasStarted, $0.file) }
        let receiver = new.config.receiver
        // Also without a state file: a reload can set one, and the system may grant no thread then.
        do throws(ThreadError) { try thread.start() } catch { throw new.loaded.problem(error) }
        guard receiver.stateFile.map(ExactText.init(wrappedValue:)) != (current?.path).map(ExactText.init(wrappedValue:)) else {
            return PreparedPart { [self] in
                run(current, every: receiver.stateInterval, isNew: false)
            } abandon: { [self] in
                if !hasStarted { await end() }
            }
        }
        let opened: Result<SavedFile?, SavedFileError>? = await withTaskCancellationHandler {
            try? await thread.run { [self] in
                Result { () throws(SavedFileError) in
                    try receiver.stateFile.map { path throws(SavedFileError) in
                        try hasStarted ? open(path, sharing: current) : read(path, new.config.metrics.validate)
                    }
                }
            }
        } onCancel: {
            isCancelled.store(true, ordering: .relaxed)
        }
        do throws(SavedFileError) {
            guard let opened else { throw Self.stopping }
            let file = try opened.get()
            return PreparedPart { [self] in
                run(file, every: receiver.stateInterval, isNew: hasStarted)
            } abandon: { [self] in
                if !hasStarted { await end() }
            }
        } catch {
            if !hasStarted { await end() }
            throw ConfigProblems([new.loaded.problem(ofStateFile: error.description)])
        }
    }

    /// Opens a path that a reload has set. The next write replaces a state file there. A file of another program would be lost.
    private func open(_ path: String, sharing current: SavedFile?) throws(SavedFileError) -> SavedFile {
        let file = try SavedFile(path)
        if try !file.lock(sharing: current), let fault = file.cannotBeReplaced { throw fault }
        if file.isForeign { throw .system("\(SavedApps.Fault.foreign), and would be lost: name another file, or remove this one") }
        return file
    }

    /// Opens the path at the start, and reads the file there into the store.
    private func read(_ path: String, _ validation: MetricsValidation) throws(SavedFileError) -> SavedFile {
        let file = try SavedFile(path)
        metrics.setExists(true)
        let isThere = try file.lock()
        let fault: SavedFileError?
        do throws(SavedFileError) {
            if isThere { try restore(from: file, validation) }
            fault = isThere ? nil : file.cannotBeOpened
        } catch {
            fault = error
        }
        guard !isCancelled.load(ordering: .relaxed) else { throw Self.stopping }
        if let fault { try moveAside(file, because: fault) }
        // Create the file now, because its lock excludes other processes.
        if !isThere || fault != nil {
            do throws(SavedFileError) {
                try save(file)
            } catch {
                // Another process that started at the same time was first.
                if case .inUse = error { throw error }
                warnOfLoss(file, error)
            }
        }
        return file
    }

    private func moveAside(_ file: SavedFile, because fault: SavedFileError) throws(SavedFileError) {
        do throws(SavedFileError) { try file.moveAside() } catch { throw .system("\(fault); \(error)") }
        logger.warning(
            "the state file cannot be used: it is kept as \(file.path).broken, and the apps in it are lost", metadata: about(file, fault))
    }

    private func restore(from file: SavedFile, _ validation: MetricsValidation) throws(SavedFileError) {
        var (restored, withheld, leftOut) = (0, 0, 0)
        let writing = try file.read(at: Self.writing()) {
            !isCancelled.load(ordering: .relaxed)
        } _: { app in
            // The apps come in the order of their last updates, newest first. After one that does not fit, the older ones are left out too.
            guard leftOut == 0 else { return leftOut += 1 }
            switch intake.restore(app, validation) {
            case .stored: restored += 1
            case .withheld: withheld += 1
            case .leftOut: leftOut = 1
            }
        }
        guard !isCancelled.load(ordering: .relaxed) else { return }
        if let writing { metrics.found(writtenAt: writing.moment.time) }
        let isWhole = leftOut == 0 && withheld == 0
        state.withLock { $0.written = isWhole ? intake.store.pushedGeneration : nil }
        logger.info("apps read from the state file", metadata: about(file, count: restored + withheld))
        if leftOut > 0 {
            logger.warning(
                "the oldest apps of the state file were left out: max_apps or max_total_size would be exceeded",
                metadata: about(file, count: leftOut))
        }
        if withheld > 0 {
            logger.warning(
                "apps of the state file withheld: Prometheus would not read their metrics", metadata: about(file, count: withheld))
        }
    }

    /// - Parameter isNew: whether to write the file at once.
    private func run(_ file: SavedFile?, every interval: Duration, isNew: Bool) {
        metrics.setExists(file != nil)
        state.withLock { state in
            let isSame = state.hasStarted && state.file === file && state.interval == interval
            state.hasStarted = true
            guard !isSame else { return }
            state.file = file
            state.interval = interval
            if isNew {
                state.written = nil
                state.failure = nil
            }
            state.writing?.cancel()
            state.writing = file.map { file in
                Task { [self] in
                    if isNew { await onThread { self.write(file, always: true) } }
                    while (try? await group.sleep(for: interval)) != nil { await onThread { self.write(file, always: false) } }
                }
            }
        }
    }

    // MARK: - Writing

    private func onThread(_ body: @escaping @Sendable () -> Void) async {
        try? await thread.run {
            ThreadPriority.lower()
            body()
        }
    }

    /// - Parameters:
    ///   - always: also when nothing has changed.
    ///   - isLast: whether the program stops: what is not written now is lost.
    private func write(_ file: SavedFile, always: Bool, isLast: Bool = false) {
        guard always || state.withLock({ $0.written }) != intake.store.pushedGeneration else { return }
        do throws(SavedFileError) { try save(file) } catch { warnOfLoss(file, error, isLast: isLast) }
    }

    private func save(_ file: SavedFile) throws(SavedFileError) {
        // Later changes are written the next time, even if this write contains them already.
        let generation = intake.store.pushedGeneration
        let start = ContinuousClock.now
        let writing = Self.writing()
        let apps = SavedApps.selection(of: intake.store.snapshot(at: writing.moment).entries)
        do throws(SavedFileError) {
            let size = try file.write(apps, at: writing)
            metrics.ended(successfully: true, at: SystemClock.time())
            let hadFailed = state.withLock { state in
                if state.file === file || state.file == nil { state.written = generation }
                defer { state.failure = nil }
                return state.failure != nil
            }
            var metadata = about(file, count: apps.count)
            metadata[LogKey.size] = "\(size)"
            metadata[LogKey.duration] = "\(start.duration(to: .now).logText)"
            if hadFailed {
                logger.notice("the state file is written again", metadata: metadata)
            } else {
                logger.debug("state file written", metadata: metadata)
            }
        } catch {
            metrics.ended(successfully: false, at: SystemClock.time())
            throw error
        }
    }

    /// Warns once of failures with the same error, until a write succeeds, and again of the last one.
    private func warnOfLoss(_ file: SavedFile, _ error: SavedFileError, isLast: Bool = false) {
        let isNew = state.withLock { state in
            defer { state.failure = error.description }
            return state.failure != error.description
        }
        guard isNew || isLast else { return }
        logger.warning("cannot write the state file: a restart would lose the pushes since the last write", metadata: about(file, error))
    }

    func stop(within time: Duration) async -> Int {
        let (file, writing) = state.withLock { state in
            defer { state.writing = nil }
            return (state.file, state.writing)
        }
        writing?.cancel()
        await writing?.value
        await end()
        guard let file else { return 0 }
        // All other parts have stopped, so the last write has the normal priority.
        try? await blockingWork.run { [self] in write(file, always: true, isLast: true) }
        return 0
    }

    private func end() async { await thread.end() }

    // MARK: - Metadata

    private static func writing() -> SavedApps.Writing {
        let boot = (try? readFile("/proc/sys/kernel/random/boot_id", limit: 128))?.bytes.prefix(36) ?? []
        return SavedApps.Writing(moment: SystemClock.now(), boot: String(decoding: boot, as: UTF8.self))
    }

    private func about(_ file: SavedFile, _ error: SavedFileError) -> Logger.Metadata {
        [LogKey.file: "\(file.path)", LogKey.error: "\(error)"]
    }

    private func about(_ file: SavedFile, count: Int) -> Logger.Metadata { [LogKey.file: "\(file.path)", LogKey.count: "\(count)"] }
}

extension LoadedConfig {
    /// A problem with the state file, at its key.
    func problem(ofStateFile message: String, severity: ConfigProblem.Severity = .error) -> ConfigProblem {
        let key = "receiver.state_file"
        return origin.problem(key, "\(key) \(config.receiver.stateFile ?? ""): \(message)", severity: severity)
    }
}
