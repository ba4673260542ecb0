import NIOCore
import NIOPosix
import Proxy
import Synchronization

/// Where pushes are decoded: small messages in turns on the event loop of their connection, large ones on threads.
struct PushDecoding: Sendable {
    let turns: EventLoopTurns.OfGroup
    let largeMessages: LargeMessages
}

/// Decodes large messages on its own threads, in order of arrival, and only as many at a time as their memory allows.
final class LargeMessages: Sendable {
    private struct Job: Sendable {
        let cost: Int
        let run: @Sendable () -> Void
    }

    private struct State {
        var running = 0
        var waiting = CircularBuffer<Job>()
        var isShutDown = false
    }

    private static let threads = 2

    private let budget: ByteBudget
    private let pool = NIOThreadPool(numberOfThreads: threads)
    /// Guards the number of messages that are being decoded, and those that wait.
    private let state = Mutex(State())

    /// - Parameter budget: counts the memory of decoding. A quarter of it is left for incomplete messages, so that a costly message does
    ///   not cause others to be refused. One message is decoded even if it does not fit, and only the part that fits is counted.
    init(budget: ByteBudget) {
        self.budget = budget
    }

    /// Starts the threads.
    func start() { pool.start() }

    /// Ends the threads. Messages that still wait are not decoded.
    func shutDown() async {
        state.withLock {
            $0.isShutDown = true
            $0.waiting.removeAll()
        }
        try? await pool.shutdownGracefully()
    }

    /// Runs `work` on one of the threads when its turn comes. After `shutDown` it does nothing.
    /// - Parameter cost: the memory that the work takes, in bytes.
    func run(cost: Int, _ work: @escaping @Sendable () -> Void) {
        state.withLock { state in
            guard !state.isShutDown else { return }
            state.waiting.append(Job(cost: cost, run: work))
        }
        startNext()
    }

    private func startNext() {
        while let (job, reserved) = state.withLock({ takeNext(&$0) }) {
            pool.submit { [self] state in
                if case .active = state { job.run() }
                budget.release(reserved)
                self.state.withLock { $0.running -= 1 }
                startNext()
            }
        }
    }

    /// - Returns: the next message that may be decoded now, and the bytes reserved for it.
    private func takeNext(_ state: inout State) -> (job: Job, reserved: Int)? {
        guard state.running < Self.threads, let job = state.waiting.first else { return nil }
        let limit = budget.limit.bytes
        let room = max(0, limit - limit / 4 - budget.used)
        var reserved = min(job.cost, room)
        if !budget.reserve(reserved) { reserved = 0 }
        if reserved < job.cost, state.running > 0 {
            budget.release(reserved)
            return nil
        }
        state.running += 1
        state.waiting.removeFirst()
        return (job, reserved)
    }
}
