import Logging
import NIOCore
import NIOPosix
import Proxy
import Synchronization

/// Runs a `MetricsChecker` on a thread of its own, for at most a tenth of one core, and logs what it finds.
final class MetricsChecks: Part {
    /// How often the checker looks for changes in the store.
    private static let period = Duration.milliseconds(200)
    /// The checks take at most the tenth part of a core's time.
    private static let share = 10
    /// The most unused processor time that is kept for later changes, in nanoseconds.
    private static let maxCredit = 100_000_000

    private let checker: MetricsChecker
    private let logger: Logger
    private let limiter = LogLimiter(burst: 100)
    /// Guards the task that runs the checks while there are any.
    private let running = Mutex<Task<Void, Never>?>(nil)

    init(_ checker: MetricsChecker, logger: Logger) {
        self.checker = checker
        self.logger = logger
    }

    func prepare(_ new: PreparedConfig, _ plan: ReloadPlan) -> PreparedPart {
        PreparedPart { [self] in setValidation(new.config.metrics.validate) }
    }

    /// What is checked from now on.
    private func setValidation(_ validation: MetricsValidation) {
        checker.setValidation(validation)
        running.withLock { task in
            if validation == .off {
                task?.cancel()
                task = nil
            } else if task == nil {
                task = Task { await self.run() }
            }
        }
    }

    /// Ends the checks and their thread.
    func stop(within time: Duration) async -> Int {
        let task = running.withLock { $0 }
        task?.cancel()
        await task?.value
        return 0
    }

    private func run() async {
        let thread = NIOThreadPool(numberOfThreads: 1)
        thread.start()
        var credit = Self.maxCredit
        var last = ContinuousClock.now
        while !Task.isCancelled {
            let left = credit
            let spent = (try? await thread.runIfActive { self.round(atMost: left) }) ?? 0
            let now = ContinuousClock.now
            credit = min(Self.maxCredit, credit + nanoseconds(now - last) / Self.share) - spent
            last = now
            // The check of one large text may take more than the credit. Then the next round waits until the debt is paid.
            try? await Task.sleep(for: max(Self.period, .nanoseconds(-credit * Self.share)))
        }
        try? await thread.shutdownGracefully()
    }

    /// Runs checks that are due until they have taken `credit` of processor time.
    /// - Returns: the processor time taken, in nanoseconds.
    private func round(atMost credit: Int) -> Int {
        ThreadPriority.lower()
        let start = SystemClock.threadTime()
        let now = SystemClock.now().instant
        checker.collect(at: now)
        while !Task.isCancelled {
            guard case .done(let event) = checker.next(at: now) else { break }
            if let event { log(event) }
            if SystemClock.threadTime() - start >= credit { break }
        }
        return SystemClock.threadTime() - start
    }

    private func nanoseconds(_ duration: Duration) -> Int {
        let (seconds, attoseconds) = duration.components
        return Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000)
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
            logger.warning(
                "series are exposed more than once, and Prometheus keeps one sample of each: set app_label in [metrics], and see /collisions",
                metadata: metadata)
        case .collisionsEnded: logger.notice("no series is exposed more than once any more", metadata: metadata)
        }
    }
}
