import Glibc
import Proxy

/// The system's clocks. The core gets its moments from here.
enum SystemClock {
    /// Both clocks.
    @Sendable static func now() -> Moment {
        Moment(time: time(), instant: Instant(nanoseconds: read(CLOCK_BOOTTIME)))
    }

    /// The wall clock alone.
    @Sendable static func time() -> Timestamp { Timestamp(nanoseconds: read(CLOCK_REALTIME)) }

    private static func read(_ clock: Int32) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
