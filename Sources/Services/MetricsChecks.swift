import Dispatch
import Logging
import NIOCore
import Proxy
import Synchronization

/// Runs a `MetricsChecker` on a thread of its own, for at most a tenth of one core, and logs what it finds.
final class MetricsChecks: Part {
    /// How often the checker looks for changes in the store.
    private static let period = Duration.milliseconds(500)
    /// The checks take at most the tenth part of a core's time.
    private static let share = 10
    /// The most unused processor time that is kept for later changes, in nanoseconds.
    private static let maxCredit = 100_000_000

    private let checker: MetricsChecker
    private let logger: Logger
    private let limiter = LogLimiter(burst: 100)
    private let thread = ThreadPool("checks", isLowPriority: true)
    /// The checks that run, if any.
    private let runner = Mutex<Runner?>(nil)

    /// Sleeps between two rounds of checks.
    private final class Runner: Sendable {
        private let stopped = Atomic(false)
        private let wakeUp = DispatchSemaphore(value: 0)

        var isStopped: Bool { stopped.load(ordering: .relaxed) }

        func stop() {
            stopped.store(true, ordering: .relaxed)
            wakeUp.signal()
        }

        /// Returns at once after `stop`.
        func sleep(for duration: Duration) {
            _ = wakeUp.wait(timeout: .now() + .nanoseconds(Int(duration.wholeNanoseconds)))
        }
    }

    init(_ checker: MetricsChecker, logger: Logger) {
        self.checker = checker
        self.logger = logger
    }

    deinit { thread.end() }

    func prepare(_ new: PreparedConfig, _ plan: ReloadPlan) throws(ConfigProblems) -> PreparedPart {
        do throws(ThreadError) { try thread.start() } catch { throw new.loaded.problem(error) }
        return PreparedPart { [self] in
            checker.hasAppLabel = new.config.metrics.appLabel != nil
            setValidation(new.config.metrics.validate)
        }
    }

    /// What is checked from now on.
    private func setValidation(_ validation: MetricsValidation) {
        checker.setValidation(validation)
        runner.withLock { runner in
            if validation == .off {
                runner?.stop()
                runner = nil
            } else if runner == nil {
                let new = Runner()
                thread.submit { [self] isActive in
                    if isActive { run(new) }
                }
                runner = new
            }
        }
    }

    /// Ends the checks and their thread.
    func stop(within time: Duration) async -> Int {
        let last = runner.withLock { $0.take() }
        last?.stop()
        await thread.end()
        return 0
    }

    private func run(_ runner: Runner) {
        var credit = Self.maxCredit
        var last = ContinuousClock.now
        while !runner.isStopped {
            let spent = round(atMost: credit, runner)
            let now = ContinuousClock.now
            credit = min(Self.maxCredit, credit + Int((now - last).wholeNanoseconds) / Self.share) - spent
            last = now
            // The check of one large text may take more than the credit. Then the next round waits until the debt is paid.
            runner.sleep(for: max(Self.period, .nanoseconds(-credit * Self.share)))
        }
    }

    /// Runs checks that are due until they have taken `credit` of processor time.
    /// - Returns: the processor time taken, in nanoseconds.
    private func round(atMost credit: Int, _ runner: Runner) -> Int {
        let start = SystemClock.threadTime()
        let now = SystemClock.now().instant
        checker.collect(at: now)
        while !runner.isStopped {
            guard case .done(let event) = checker.next(at: now) else { break }
            if let event { log(event) }
            if SystemClock.threadTime() - start >= credit { break }
        }
        return SystemClock.threadTime() - start
    }

    private func log(_ event: MetricsChecker.Event) {
        guard let suppressed = limiter.admit() else { return }
        var metadata: Logger.Metadata = suppressed > 0 ? [LogKey.suppressed: "\(suppressed)"] : [:]
        switch event {
        case .becameInvalid(let app, let error):
            metadata[LogKey.app] = "\(app)"
            metadata[LogKey.error] = "\(error)"
            logger.warning("app is invalid: Prometheus would not read its metrics", metadata: metadata)
        case .becameValid(let app):
            metadata[LogKey.app] = "\(app)"
            logger.notice("app is valid again", metadata: metadata)
        case .collisionsBegan(let count, let example, let apps):
            metadata[LogKey.count] = "\(count)"
            metadata[LogKey.series] = "\(example)"
            metadata[LogKey.app] = "\(apps.joined(separator: ", "))"
            // The label does not help against series that one app exposes twice. /collisions says what helps where it is set already.
            let remedy = apps.count > 1 && !checker.hasAppLabel ? "set app_label in [metrics], and see /collisions" : "see /collisions"
            logger.warning(
                "series are exposed more than once, and Prometheus keeps one sample of each: \(remedy)", metadata: metadata)
        case .collisionsEnded: logger.notice("no series is exposed more than once any more", metadata: metadata)
        }
    }
}
