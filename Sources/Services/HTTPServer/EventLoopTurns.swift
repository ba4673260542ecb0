import NIOCore
import Synchronization

/// Lets the connections of an event loop take turns: one that has more to do waits until all others have been served.
///
/// One read can hold a hundred requests. A connection answers one of them, then waits here. What waits is done for a millisecond at a
/// time, between two looks at the sockets.
final class EventLoopTurns: Sendable {
    /// How long the connections that wait are served before the sockets are looked at again.
    static let share = TimeAmount.milliseconds(1)
    /// A task that is due at once would be run before the sockets are looked at. An event loop on a busy machine may need some time to get
    /// there.
    private static let pause = TimeAmount.microseconds(100)

    private typealias Turn = () -> Void

    /// What waits on one event loop.
    private final class Queue {
        var turns = CircularBuffer<Turn>()
        var isScheduled = false
    }

    /// Guards the list; each queue belongs to its event loop.
    private let queues = Mutex<[ObjectIdentifier: NIOLoopBound<Queue>]>([:])

    /// Calls `turn` on this event loop, on which the caller runs, when its turn comes.
    func wait(on eventLoop: any EventLoop, _ turn: @escaping () -> Void) {
        let queue = queues.withLock { queues in
            if let known = queues[ObjectIdentifier(eventLoop)] { return known }
            let made = NIOLoopBound(Queue(), eventLoop: eventLoop)
            queues[ObjectIdentifier(eventLoop)] = made
            return made
        }
        queue.value.turns.append(turn)
        schedule(queue.value, on: eventLoop)
    }

    private func schedule(_ queue: Queue, on eventLoop: any EventLoop) {
        guard !queue.isScheduled, !queue.turns.isEmpty else { return }
        queue.isScheduled = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
            let end = NIODeadline.now() + Self.share
            while let turn = queue.turns.popFirst() {
                turn()
                if NIODeadline.now() >= end { break }
            }
            // Not before: a task scheduled during these turns would be due by now, and be run before the sockets are looked at.
            queue.isScheduled = false
            self.schedule(queue, on: eventLoop)
        }
    }
}
