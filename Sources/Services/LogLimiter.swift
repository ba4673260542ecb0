import NIOCore
import Synchronization

/// Lets through a few log lines in each span of time, so that a hostile or broken peer cannot flood the log.
final class LogLimiter: Sendable {
    private struct State {
        var windowEnd = NIODeadline.uptimeNanoseconds(0)
        var left = 0
        var suppressed = 0
    }

    private let burst: Int
    private let window: TimeAmount
    /// Guards the current span's account.
    private let state = Mutex(State())

    init(burst: Int = 10, each window: TimeAmount = .seconds(10)) {
        self.burst = burst
        self.window = window
    }

    /// - Returns: whether to write a line now, and then how many were left out before it; `nil` to leave this one out too.
    func admit(at now: NIODeadline = .now()) -> Int? {
        state.withLock { state in
            if now >= state.windowEnd {
                state.windowEnd = now + window
                state.left = burst
            }
            guard state.left > 0 else {
                state.suppressed += 1
                return nil
            }
            state.left -= 1
            defer { state.suppressed = 0 }
            return state.suppressed
        }
    }
}
