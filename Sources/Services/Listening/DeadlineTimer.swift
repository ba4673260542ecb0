import NIOCore

/// One deadline of one connection or target, moved as often as wanted: moving it later, as nearly every read does, only writes a field.
/// The scheduled callback finds out on its own whether the time has really come. Belongs to one event loop.
final class DeadlineTimer: NIOScheduledCallbackHandler {
    private let eventLoop: any EventLoop
    /// `nil` while nothing is awaited.
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
        // A callback that comes too early looks again; only one that would come too late has to go.
        if let scheduled {
            if scheduled.at <= deadline { return }
            scheduled.callback.cancel()
        }
        schedule(at: deadline)
    }

    /// Awaits nothing, until `set` is called again.
    func clear() { deadline = nil }

    /// For the end of the connection: nothing is kept alive, nothing will be called.
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
        // It fails only on a loop that is shut down, and then no connection is left to be timed.
        guard let callback = try? eventLoop.assumeIsolated().scheduleCallback(at: deadline, handler: self) else { return }
        scheduled = (callback, deadline)
    }
}
