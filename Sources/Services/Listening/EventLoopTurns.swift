import NIOCore
import Proxy

/// Shares the time of one event loop among its connections. One read can contain a hundred requests or thousands of messages, and one
/// answer can be as large as all metrics. The event loop looks at its sockets every few milliseconds, however many connections wait for a
/// turn. Connections with small steps wait in one queue, those with large steps in another, and the two queues alternate. In each queue the
/// peers take turns. Used on its event loop only.
final class EventLoopTurns {
    /// One turn of a connection.
    struct Turn {
        fileprivate let start: NIODeadline
        fileprivate let end: NIODeadline

        /// Whether to end the turn before the next of many small steps.
        var isOver: Bool { .now() >= end }
        /// Whether to end the turn before the next large step, such as writing hundreds of kilobytes. With `isOver`, each such turn would
        /// have one or two steps, and a pause after them.
        var isOverForLargeSteps: Bool { .now() >= start + longestTurnOfLargeSteps }
    }

    /// The turns of each event loop. Used from any thread.
    struct OfGroup: Sendable {
        private let boxes: [ObjectIdentifier: NIOLoopBoundBox<EventLoopTurns?>]

        init(_ group: any EventLoopGroup) {
            boxes = Dictionary(
                uniqueKeysWithValues: group.makeIterator().map {
                    (ObjectIdentifier($0), NIOLoopBoundBox.makeEmptyBox(valueType: EventLoopTurns.self, eventLoop: $0))
                })
        }

        /// The turns of an event loop of the group. Called on it.
        subscript(_ eventLoop: any EventLoop) -> EventLoopTurns {
            let box = boxes[ObjectIdentifier(eventLoop)]
            if let turns = box?.value { return turns }
            let made = EventLoopTurns(eventLoop)
            box?.value = made
            return made
        }
    }

    /// The longest turn of one connection with small steps.
    private static let longestTurn = TimeAmount.microseconds(500)
    /// The longest turn of one connection with large steps.
    private static let longestTurnOfLargeSteps = TimeAmount.milliseconds(2)
    /// No turn begins after this time in one round of the event loop, before it looks at its sockets and timers again. Answering a new
    /// connection takes several rounds.
    private static let longestRound = TimeAmount.milliseconds(1)
    /// The event loop runs every task that is due before it looks at its sockets, so a round must not be due too soon. On a busy machine a
    /// shorter pause would already be over.
    private static let pause = TimeAmount.microseconds(100)

    private let eventLoop: any EventLoop
    /// The time that is left in this round.
    private var allowance = longestRound
    /// Whether the event loop renews the allowance at the end of this round.
    private var isRenewalDue = false
    /// The time that requests which begin at once may still take.
    private var requestAllowance = longestRound
    /// When it was last looked at. All time since then was spent on something else.
    private var otherWorkSince = NIODeadline.uptimeNanoseconds(0)
    private var waiting = FairQueue<() -> Void>()
    private var waitingForLargeSteps = FairQueue<() -> Void>()
    private var isNextLarge = false
    private var isScheduled = false

    init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// Runs `body` as one turn.
    /// - Returns: `nil` when no time is left in this round; then `wait`.
    @discardableResult
    func take<Result>(_ body: (Turn) -> Result) -> Result? {
        guard allowance > .zero else { return nil }
        let start = NIODeadline.now()
        let result = body(Turn(start: start, end: start + min(Self.longestTurn, allowance)))
        allowance = allowance - (.now() - start)
        // Not for each turn: a task costs as much as a small one.
        if allowance <= Self.longestTurn, !isRenewalDue {
            isRenewalDue = true
            // The event loop runs tasks after it has handled all sockets that were ready.
            eventLoop.assumeIsolated().execute { [self] in
                isRenewalDue = false
                allowance = Self.longestRound
            }
        }
        return result
    }

    /// Runs `body`, which handles a request that has just arrived, unless such requests have lately taken more than half of the time.
    /// They have an allowance of their own, so that a small scrape does not wait behind large answers.
    /// - Returns: whether `body` has run. If not, `wait`.
    func begin(_ body: () -> Void) -> Bool {
        let start = NIODeadline.now()
        requestAllowance = min(Self.longestRound, requestAllowance + (start - otherWorkSince))
        otherWorkSince = start
        guard requestAllowance > .zero else { return false }
        body()
        otherWorkSince = .now()
        requestAllowance = requestAllowance - (otherWorkSince - start)
        return true
    }

    /// Calls `work` after what waits already, except that the peers take turns. `work` should be short, or call `take`.
    /// - Parameters:
    ///   - peer: whose connection waits.
    ///   - forLargeSteps: whether the turn may last as long as large steps need. Such turns alternate with the others.
    func wait(of peer: QueuePeer = QueuePeer(nil), forLargeSteps: Bool = false, _ work: @escaping () -> Void) {
        if forLargeSteps { waitingForLargeSteps.append(work, of: peer) } else { waiting.append(work, of: peer) }
        schedule()
    }

    private func popNext() -> (() -> Void)? {
        isNextLarge.toggle()
        return isNextLarge
            ? waitingForLargeSteps.popFirst() ?? waiting.popFirst()
            : waiting.popFirst() ?? waitingForLargeSteps.popFirst()
    }

    private func schedule() {
        guard !isScheduled else { return }
        isScheduled = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in runTurns() }
    }

    private func runTurns() {
        allowance = Self.longestRound
        let end = NIODeadline.now() + Self.longestRound
        while allowance > .zero, .now() < end, let work = popNext() { work() }
        // Schedule the next round only now. A task that was scheduled during these turns would already be due, and the event loop would
        // run it before it looks at its sockets.
        isScheduled = false
        if !waiting.isEmpty || !waitingForLargeSteps.isEmpty { schedule() }
    }
}
