/// A moment of wall-clock time, in nanoseconds since 1970-01-01 00:00:00 UTC. It is for display and for certificates: this clock can
/// be set forward and back, so ages are counted with `Instant`.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Since 1970-01-01 00:00:00 UTC, leap seconds not counted.
    public var nanoseconds: Int64

    /// A moment, in nanoseconds since 1970-01-01 00:00:00 UTC.
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// Whether `a` is earlier.
    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.nanoseconds < b.nanoseconds }
}

/// A moment on a clock that only goes forward and also counts while the machine sleeps (`CLOCK_BOOTTIME`). Ages and deadlines of what
/// is stored are counted with it, so that setting the wall clock changes none of them.
public struct Instant: Hashable, Comparable, Sendable {
    /// Since the machine has started. Negative for what a program before this boot has done.
    public var nanoseconds: Int64

    /// A moment, in nanoseconds since the machine has started.
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The moment this much later; the last one there is when that lies beyond.
    public func advanced(by duration: Duration) -> Instant {
        let (sum, isTooLate) = nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return Instant(nanoseconds: isTooLate ? .max : sum)
    }

    /// Whether `a` is earlier.
    public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
}

/// One moment on both clocks, read together. The core reads no clock: moments are handed in.
public struct Moment: Hashable, Sendable {
    /// The wall clock, for display.
    public var time: Timestamp
    /// The clock of ages.
    public var instant: Instant

    /// A moment made of both readings.
    public init(time: Timestamp, instant: Instant) {
        self.time = time
        self.instant = instant
    }
}

extension Duration {
    /// In nanoseconds, rounded towards zero; the largest number there is when that lies beyond.
    var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, isTooLong) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, overflows) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        return isTooLong || overflows ? .max : sum
    }
}
