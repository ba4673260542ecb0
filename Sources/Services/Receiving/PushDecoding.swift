import NIOCore
import Proxy
import Synchronization

/// Where pushes are decoded: small messages in turns on the event loop of their connection, large ones on threads.
struct PushDecoding: Sendable {
    let turns: EventLoopTurns.OfGroup
    let largeMessages: LargeMessages
    let unfinished = UnfinishedPushes()
}

/// Counts the connections that are gone and whose complete messages are not applied yet: the sender of a Unix socket may close it as soon as
/// it has written. A stop waits for them before the state file is written.
final class UnfinishedPushes: Sendable {
    private static let period = Duration.milliseconds(2)

    private let connections = Atomic(0)

    func begin() { connections.add(1, ordering: .relaxed) }

    func end() { connections.subtract(1, ordering: .relaxed) }

    /// Returns when there are none, at the latest at the deadline.
    /// - Returns: how many are left.
    /// - Parameter group: has the timer.
    func wait(until deadline: ContinuousClock.Instant, on group: any EventLoopGroup) async -> Int {
        while connections.load(ordering: .relaxed) > 0, .now < deadline { try? await group.sleep(for: Self.period) }
        return connections.load(ordering: .relaxed)
    }
}

/// Decodes large messages on its own threads, and only as many at a time as their memory allows.
///
/// The order is that of fair queueing (Demers, Keshav and Shenker, 1989), with the memory of a message as its cost. A costly message
/// waits for cheaper ones that come later, and all messages for one app wait for each other. So a client that has a large group merged again
/// and again delays its own pushes, not those of others.
final class LargeMessages: Sendable {
    private struct Job: Sendable {
        let cost: Int
        /// Its start in virtual time: the cost that each waiting job would have been served so far if all shared the threads evenly.
        let start: Int
        let run: @Sendable () -> Void

        var end: Int { start + cost }
    }

    private struct State {
        var running = 0
        var waiting: [Job] = []
        /// The cost that has been worked off for each job that waits.
        var now = 0
        /// Where the next job of each app starts, if that is later than `now`.
        var starts: [AppName: Int] = [:]
        var isEnded = false
    }

    private static let threads = 2

    private let budget: ByteBudget
    private let pool = ThreadPool("large messages", threads: threads)
    /// Guards the number of messages that are being decoded, and those that wait.
    private let state = Mutex(State())

    /// - Parameter budget: counts the memory of decoding. A quarter of it is left for incomplete messages, so that a costly message does
    ///   not cause others to be refused. One message is decoded even if it does not fit, and only the part that fits is counted.
    init(budget: ByteBudget) {
        self.budget = budget
    }

    /// Starts the threads.
    func start() throws(ThreadError) { try pool.start() }

    /// Ends the threads. Messages that still wait are not decoded.
    func end() async {
        state.withLock {
            $0.isEnded = true
            $0.waiting.removeAll()
        }
        await pool.end()
    }

    /// Runs `work` on one of the threads when its turn comes. After `end` it does nothing.
    /// - Parameters:
    ///   - cost: the memory that the work takes, in bytes.
    ///   - app: the app or group that it changes, if it is one. Work on one app is begun in order of arrival.
    func run(cost: Int, app: AppName? = nil, _ work: @escaping @Sendable () -> Void) {
        state.withLock { state in
            guard !state.isEnded else { return }
            let start = max(state.now, app.flatMap { state.starts[$0] } ?? 0)
            let job = Job(cost: max(1, cost), start: start, run: work)
            if let app { state.starts[app] = job.end }
            state.waiting.append(job)
        }
        startNext()
    }

    private func startNext() {
        while let (job, reserved) = state.withLock({ takeNext(&$0) }) {
            pool.submit { [self] isActive in
                if isActive { job.run() }
                budget.release(reserved)
                self.state.withLock { $0.running -= 1 }
                startNext()
            }
        }
    }

    /// - Returns: the next message that may be decoded now, and the bytes reserved for it.
    private func takeNext(_ state: inout State) -> (job: Job, reserved: Int)? {
        guard state.running < Self.threads, let index = state.waiting.indices.min(by: { state.waiting[$0].end < state.waiting[$1].end })
        else { return nil }
        let job = state.waiting[index]
        let limit = budget.limit.bytes
        let room = max(0, limit - limit / 4 - budget.used)
        var reserved = min(job.cost, room)
        if !budget.reserve(reserved) { reserved = 0 }
        if reserved < job.cost, state.running > 0 {
            budget.release(reserved)
            return nil
        }
        state.running += 1
        state.waiting.remove(at: index)
        state.now = max(state.now + job.cost / (state.waiting.count + 1), job.start)
        if state.starts.count > 2 * state.waiting.count { state.starts = state.starts.filter { $0.value > state.now } }
        return (job, reserved)
    }
}
