import NIOCore
import NIOPosix
import Proxy
import Synchronization

/// Where pushes are decoded: small messages in turns on the event loop of their connection, large ones on threads of their own.
final class PushDecoding: Sendable {
    let largeMessages: LargeMessages
    private let turns: [ObjectIdentifier: NIOLoopBoundBox<DecodingTurns?>]

    /// - Parameters:
    ///   - group: the event loops of all connections.
    ///   - budget: what pushes may take together.
    init(group: any EventLoopGroup, budget: ByteBudget) {
        largeMessages = LargeMessages(budget: budget)
        turns = Dictionary(
            uniqueKeysWithValues: group.makeIterator().map {
                (ObjectIdentifier($0), NIOLoopBoundBox.makeEmptyBox(valueType: DecodingTurns.self, eventLoop: $0))
            })
    }

    /// The turns of one of the group's event loops. Called on it.
    func turns(on eventLoop: any EventLoop) -> DecodingTurns {
        guard let box = turns[ObjectIdentifier(eventLoop)] else { return DecodingTurns(eventLoop: eventLoop) }
        if let turns = box.value { return turns }
        let made = DecodingTurns(eventLoop: eventLoop)
        box.value = made
        return made
    }
}

/// Shares the time of one event loop among the connections that decode on it, so that many of them at once delay others by a few
/// milliseconds. Belongs to that event loop.
final class DecodingTurns {
    /// A connection that takes its turn.
    protocol Waiting: AnyObject {
        /// Decodes on, in a turn of its own.
        func turnHasCome()
    }

    /// What a connection may use of its event loop at once.
    struct Turn {
        fileprivate let end: NIODeadline

        var isOver: Bool { NIODeadline.now() >= end }
    }

    /// A connection's share, before others come.
    private static let longestTurn = TimeAmount.microseconds(500)
    /// What all connections may take in one round of the event loop, before it looks after its sockets and timers again. A request of a
    /// new connection needs several rounds.
    private static let longest = TimeAmount.milliseconds(1)
    /// Later than at once, for else the event loop would not look after its sockets in between.
    private static let pause = TimeAmount.microseconds(50)

    private let eventLoop: any EventLoop
    /// What is left of it in this round.
    private var allowance = longest
    /// Whether the event loop renews the allowance at the end of this round.
    private var isRenewalDue = false
    private var waiting = CircularBuffer<any Waiting>()
    private var isScheduled = false

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// Runs `body` in a turn.
    /// - Returns: `nil` when there is no time for it now: then `wait`.
    func take<Result>(_ body: (Turn) -> Result) -> Result? {
        guard allowance > .zero else { return nil }
        if !isRenewalDue {
            isRenewalDue = true
            // Tasks are run when all sockets that were ready have been looked after.
            eventLoop.assumeIsolated().execute { [self] in
                isRenewalDue = false
                allowance = Self.longest
            }
        }
        let start = NIODeadline.now()
        let result = body(Turn(end: start + min(Self.longestTurn, allowance)))
        allowance = allowance - (.now() - start)
        return result
    }

    /// Queues a connection for another turn.
    func wait(_ connection: any Waiting) {
        waiting.append(connection)
        schedule()
    }

    private func schedule() {
        guard !isScheduled else { return }
        isScheduled = true
        _ = eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in runTurns() }
    }

    private func runTurns() {
        allowance = Self.longest
        while allowance > .zero, let next = waiting.popFirst() { next.turnHasCome() }
        // Not before: a task scheduled during these turns would be due by now, and be run before the sockets are looked at.
        isScheduled = false
        if !waiting.isEmpty { schedule() }
    }
}

/// Decodes large messages on threads of their own, in the order in which they come, and a few at a time: as many as their memory allows.
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
    /// Guards who decodes and who waits.
    private let state = Mutex(State())

    /// - Parameter budget: what decoding takes is counted here, but for a quarter that is left to incomplete messages: a costly message
    ///   refuses no other. One message is decoded even when it does not fit, and counts as far as it does.
    init(budget: ByteBudget) {
        self.budget = budget
    }

    /// Starts the threads.
    func start() { pool.start() }

    /// Ends the threads; messages that wait are not decoded.
    func shutDown() async {
        state.withLock {
            $0.isShutDown = true
            $0.waiting.removeAll()
        }
        try? await pool.shutdownGracefully()
    }

    /// Runs `work` on one of the threads, as soon as its turn has come. After `shutDown`, never.
    /// - Parameter cost: bytes of memory that it takes.
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

    /// - Returns: the next message that may be decoded now, and the bytes that were reserved for it.
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
