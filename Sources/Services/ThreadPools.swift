import CThreads
import Dispatch
import Glibc
import NIOCore
import Proxy
import Synchronization

/// Threads for work that blocks or takes long. They take it in the order in which it comes. Used from any thread.
///
/// All are made by `start`, so that a running program never depends on whether the system grants another thread. (NIO's pool ends the
/// process without one, and needs one more to end.)
final class ThreadPool: Sendable {
    /// - Parameter isActive: false when the pool has ended before the work has begun.
    typealias Work = @Sendable (_ isActive: Bool) -> Void

    private struct State {
        var isStarted = false
        var isEnded = false
        /// How many run.
        var threads = 0
        var waiting = CircularBuffer<Work>()
        /// Called when the last thread has ended.
        var ended: [@Sendable () -> Void] = []
    }

    private let name: String
    private let count: Int
    private let isLowPriority: Bool
    private let state = Mutex(State())
    /// One for each piece of work, and at the end one for each thread.
    private let signals = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - name: of its threads, at most 15 bytes.
    ///   - isLowPriority: whether its work may wait for all other work.
    init(_ name: String, threads: Int = 1, isLowPriority: Bool = false) {
        self.name = name
        count = threads
        self.isLowPriority = isLowPriority
    }

    /// Makes the threads. Work may have come before. Another call changes nothing.
    func start() throws(ThreadError) {
        let isFirst = state.withLock { state in
            defer { state.isStarted = true }
            return !state.isStarted && !state.isEnded
        }
        guard isFirst else { return }
        for _ in 0..<count {
            let isWanted = state.withLock { state in
                if !state.isEnded { state.threads += 1 }
                return !state.isEnded
            }
            guard isWanted else { return }
            do throws(ThreadError) {
                try makeThread()
            } catch {
                state.withLock { $0.threads -= 1 }
                end()
                throw error
            }
        }
    }

    private func makeThread() throws(ThreadError) {
        var thread = pthread_t()
        let owner = Unmanaged.passRetained(self)
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let pool = Unmanaged<ThreadPool>.fromOpaque(argument).takeRetainedValue()
                cthreads_set_name(pool.name)
                pool.work()
                return nil
            }, owner.toOpaque())
        guard code == 0 else {
            owner.release()
            throw ThreadError(reason: SystemError.text(code))
        }
        pthread_detach(thread)
    }

    private func work() {
        if isLowPriority { ThreadPriority.lower() }
        while true {
            signals.wait()
            let (next, isEnded) = state.withLock { ($0.waiting.popFirst(), $0.isEnded) }
            if let next { next(!isEnded) } else if isEnded { break }
        }
        let ended = state.withLock { state -> [@Sendable () -> Void] in
            state.threads -= 1
            guard state.threads == 0 else { return [] }
            defer { state.ended = [] }
            return state.ended
        }
        for callback in ended { callback() }
    }

    /// Has `work` run on one of the threads. When they have ended, it is called at once, here.
    func submit(_ work: @escaping Work) {
        let isAccepted = state.withLock { state in
            if !state.isEnded { state.waiting.append(work) }
            return !state.isEnded
        }
        if isAccepted { signals.signal() } else { work(false) }
    }

    /// Runs `body` on one of the threads.
    /// - Throws: when they have ended.
    func run<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async throws(ThreadsEnded) -> Result {
        let result = await withCheckedContinuation { continuation in
            submit { continuation.resume(returning: $0 ? body() : nil) }
        }
        guard let result else { throw ThreadsEnded() }
        return result
    }

    /// The same, for an event loop.
    func run<Result: Sendable>(on eventLoop: any EventLoop, _ body: @escaping @Sendable () -> Result) -> EventLoopFuture<Result> {
        let promise = eventLoop.makePromise(of: Result.self)
        submit { isActive in if isActive { promise.succeed(body()) } else { promise.fail(ThreadsEnded()) } }
        return promise.futureResult
    }

    /// Begins no more work. What waits is called with `false`.
    /// - Parameter ended: called when the threads have ended, on one of them or at once.
    func end(_ ended: @escaping @Sendable () -> Void = {}) {
        let dropped: CircularBuffer<Work>? = state.withLock { state in
            let isFirst = !state.isEnded
            state.isEnded = true
            guard state.threads == 0 else {
                state.ended.append(ended)
                if isFirst { for _ in 0..<count { signals.signal() } }
                return nil
            }
            defer { state.waiting.removeAll() }
            return state.waiting
        }
        guard let dropped else { return }
        for work in dropped { work(false) }
        ended()
    }

    /// The same. Returns when the threads have ended.
    func end() async {
        await withCheckedContinuation { continuation in end { continuation.resume() } }
    }
}

/// The system grants no thread.
struct ThreadError: Error, CustomStringConvertible {
    /// The system's text.
    let reason: String

    var description: String { "cannot start a thread: \(reason): raise TasksMax=, ulimit -u or the process limit of the container" }
}

extension LoadedConfig {
    /// The program cannot start without this thread.
    func problem(_ error: ThreadError) -> ConfigProblems {
        ConfigProblems([ConfigProblem(file: origin.file, position: nil, key: nil, message: error.description)])
    }
}

/// The threads that should do the work have ended, because the program stops.
struct ThreadsEnded: Error {}

/// Runs the core's long work on a thread pool, away from the event loops.
struct ThreadPoolOffload: Offload {
    private let pool: ThreadPool

    /// - Parameter pool: started, and ended after the last connection, by its owner.
    init(_ pool: ThreadPool) { self.pool = pool }

    /// As `Offload` says.
    func run<Result: Sendable>(
        on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result
    ) -> EventLoopFuture<Result> {
        let promise = eventLoop.makePromise(of: Result.self)
        // A pool that has ended calls this closure on the event loop. The request must be answered nevertheless.
        pool.submit { _ in promise.succeed(work()) }
        return promise.futureResult
    }
}

/// Checks passwords on a thread of its own, of low priority, so that guessing them takes no time from scrapes.
struct PasswordThread: PasswordChecker {
    private let pool: ThreadPool

    /// - Parameter pool: one thread, on which nothing else runs. Its owner starts it, and ends it after the last connection.
    init(_ pool: ThreadPool) { self.pool = pool }

    /// As `PasswordChecker` says.
    func check(_ password: [UInt8], against hash: BcryptHash, on eventLoop: any EventLoop) -> EventLoopFuture<Bool> {
        let promise = eventLoop.makePromise(of: Bool.self)
        pool.submit { isActive in
            promise.succeed(isActive && hash.matches(password))
        }
        return promise.futureResult
    }
}

/// The scheduling of threads.
enum ThreadPriority {
    /// Gives the calling thread a low priority, for work that may wait. Another call changes nothing.
    static func lower() {
        // On Linux this is the priority of the thread, not of the process (setpriority(2)).
        _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
    }
}
