import NIOCore

/// Work that an event loop does again and again.
///
/// On an idle host, waking a core is most of what the program does. So all periodic work begins at whole multiples of its period:
/// a loop wakes up once for everything that is due.
extension EventLoop {
    /// Does `work` once in each period, until the event loop ends.
    func repeats(every period: TimeAmount, _ work: @escaping @Sendable () -> Void) {
        scheduleTask(deadline: now.next(period)) {
            work()
            self.repeats(every: period, work)
        }
    }
}

extension EventLoopGroup {
    /// Returns after this time. `Task.sleep` needs a thread of libdispatch, which the system may not grant (`MainThread`).
    /// - Throws: as soon as the task is cancelled.
    func sleep(for time: Duration) async throws {
        let alarm = any().scheduleTask(in: TimeAmount(time)) {}
        try await withTaskCancellationHandler {
            try await alarm.futureResult.get()
        } onCancel: {
            alarm.cancel()
        }
    }
}

extension NIODeadline {
    /// The next whole multiple of `period` since the clock's zero.
    func next(_ period: TimeAmount) -> NIODeadline {
        let length = UInt64(period.nanoseconds)
        return .uptimeNanoseconds((uptimeNanoseconds / length + 1) * length)
    }
}
