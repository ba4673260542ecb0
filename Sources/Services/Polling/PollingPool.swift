import NIOCore
import Proxy
import Synchronization

/// The thread pool of all polls. It decodes large bodies and makes TLS contexts, so that neither event loops nor the work for scrapes wait
/// for them. Used from any thread.
final class PollingPool: Sendable {
    /// A body that waits for a thread or is being decoded.
    final class Job: Sendable {
        private let isCancelled = Atomic(false)

        /// The outcome is not recorded, unless recording has begun.
        func cancel() { isCancelled.store(true, ordering: .relaxed) }

        fileprivate var isWanted: Bool { !isCancelled.load(ordering: .relaxed) }
    }

    /// Counts the bodies of all polls.
    let budget: ByteBudget
    private let pool: ThreadPool
    private let refusesOtherFormats = Atomic(true)

    /// - Parameter threads: the number of bodies that are decoded at the same time.
    init(budget: ByteBudget, threads: Int = 2) {
        self.budget = budget
        self.pool = ThreadPool("poll", threads: threads)
    }

    deinit { pool.end() }

    /// Makes the threads. Another call changes nothing.
    func start() throws(ThreadError) { try pool.start() }

    /// Whether a body that is clearly HTML or JSON is a failure.
    func setRefusesOtherFormats(_ refuses: Bool) { refusesOtherFormats.store(refuses, ordering: .relaxed) }

    /// Decodes `body`, at once when it is small, and records the outcome.
    /// - Parameters:
    ///   - record: called on this thread or on another one.
    ///   - ended: called with what `record` returned, on `eventLoop`: before this returns when the body is small.
    /// - Returns: the work that goes on elsewhere, if any.
    func decode(
        _ body: PolledBody, on eventLoop: any EventLoop, record: @escaping @Sendable (PollOutcome) -> PollOutcome,
        ended: @escaping (PollOutcome) -> Void
    ) -> Job? {
        let refuses = refusesOtherFormats.load(ordering: .relaxed)
        do throws(PollFailure) {
            if let exposition = try body.smallExposition(refusingOtherFormats: refuses) {
                ended(record(.success(exposition)))
                return nil
            }
        } catch {
            ended(record(PollOutcome(error)))
            return nil
        }
        let job = Job()
        let promise = eventLoop.makePromise(of: PollOutcome.self)
        promise.futureResult.assumeIsolated().whenSuccess(ended)
        pool.submit { isActive in
            guard job.isWanted, isActive else { return promise.succeed(PollOutcome(.stopped)) }
            let outcome: PollOutcome
            do throws(PollFailure) {
                outcome = .success(try body.exposition(refusingOtherFormats: refuses))
            } catch {
                outcome = PollOutcome(error)
            }
            promise.succeed(job.isWanted ? record(outcome) : outcome)
        }
        return job
    }

    /// Runs other work that an event loop must not do.
    func run<Result: Sendable>(on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result) -> EventLoopFuture<Result> {
        pool.run(on: eventLoop, work)
    }

    /// Begins no more work.
    /// - Returns: when its threads have ended.
    func end(on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        pool.end { promise.succeed() }
        return promise.futureResult
    }
}
