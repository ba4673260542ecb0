import NIOCore

/// One deadline of one connection or target. Nearly every read moves it later, and that only writes a field: the scheduled callback checks
/// whether the deadline has passed. Belongs to one event loop.
final class DeadlineTimer: NIOScheduledCallbackHandler {
    private let eventLoop: any EventLoop
    /// `nil` without a deadline.
    private var deadline: NIODeadline?
    private var scheduled: (callback: NIOScheduledCallback, at: NIODeadline)?
    private var onExpiry: (() -> Void)?

    /// - Parameter onExpiry: called on the event loop; may set the next deadline. Released by `stop()`.
    init(eventLoop: any EventLoop, onExpiry: @escaping () -> Void) {
        self.eventLoop = eventLoop
        self.onExpiry = onExpiry
    }

    /// Expires after `time` from now, instead of any other deadline.
    func set(_ time: TimeAmount) { set(eventLoop.now + time) }

    /// Expires at that moment, instead of any other deadline.
    func set(_ deadline: NIODeadline) {
        guard onExpiry != nil else { return }
        self.deadline = deadline
        // A callback that comes too early schedules another one. Only one that would come too late is cancelled.
        if let scheduled {
            if scheduled.at <= deadline { return }
            scheduled.callback.cancel()
        }
        schedule(at: deadline)
    }

    /// Removes the deadline, until `set` is called again.
    func clear() { deadline = nil }

    /// Ends the timer and releases `onExpiry`, which is not called any more.
    func stop() {
        deadline = nil
        onExpiry = nil
        scheduled?.callback.cancel()
        scheduled = nil
    }

    func handleScheduledCallback(eventLoop: some EventLoop) {
        scheduled = nil
        guard let deadline else { return }
        guard deadline <= eventLoop.now else {
            schedule(at: deadline)
            return
        }
        self.deadline = nil
        onExpiry?()
    }

    private func schedule(at deadline: NIODeadline) {
        // It fails only on a loop that is shut down, when no connection is left.
        guard let callback = try? eventLoop.assumeIsolated().scheduleCallback(at: deadline, handler: self) else { return }
        scheduled = (callback, deadline)
    }
}
