import Glibc

/// A time of the wall clock, in nanoseconds since 1970-01-01 00:00:00 UTC. It is for display and for certificates. This clock can be set
/// forward and back, so ages use `Instant`.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Since 1970-01-01 00:00:00 UTC, leap seconds not counted.
    public var nanoseconds: Int64

    /// Makes a time, in nanoseconds since 1970-01-01 00:00:00 UTC.
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// Makes a time, in seconds since 1970-01-01 00:00:00 UTC, limited to the years 1677 to 2262. Certificates without an end have the
    /// year 9999.
    public init(seconds: Int64) {
        let limit = Int64.max / 1_000_000_000
        nanoseconds = min(max(seconds, -limit), limit) * 1_000_000_000
    }

    /// Whole seconds since 1970-01-01 00:00:00 UTC.
    public var seconds: Int64 { nanoseconds / 1_000_000_000 }

    /// Whether `a` is earlier.
    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.nanoseconds < b.nanoseconds }
}

/// A time of a clock that only goes forward and also counts while the machine sleeps (`CLOCK_BOOTTIME`). Ages and deadlines of stored apps
/// use it, so that setting the wall clock does not change them.
public struct Instant: Hashable, Comparable, Sendable {
    /// Nanoseconds since the machine has started. Negative for times before this boot.
    public var nanoseconds: Int64

    /// Makes a time, in nanoseconds since the machine has started.
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The time after `duration`; on overflow the latest possible time.
    public func advanced(by duration: Duration) -> Instant {
        let (sum, isTooLate) = nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return Instant(nanoseconds: isTooLate ? .max : sum)
    }

    /// Whether `a` is earlier.
    public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
}

/// One moment on both clocks, read together. The core reads no clock: its callers pass the time.
public struct Moment: Hashable, Sendable {
    /// The wall clock, for display.
    public var time: Timestamp
    /// The clock of ages.
    public var instant: Instant

    /// Makes a moment from both times.
    public init(time: Timestamp, instant: Instant) {
        self.time = time
        self.instant = instant
    }
}

extension Duration {
    /// In nanoseconds, rounded towards zero; on overflow the largest number.
    public var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, isTooLong) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, overflows) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        return isTooLong || overflows ? .max : sum
    }
}

extension Timestamp {
    /// As `/apps` shows it: `2022-05-22 23:51:52.939898700 UTC`, with 0, 3, 6 or 9 fractional digits, as many as are needed.
    var tableText: String { dateAndTime(separator: " ", suffix: " UTC") }

    /// `2022-05-22T23:51:52.939898700Z` (RFC 3339), with fractional digits as in `tableText`.
    public var rfc3339: String { dateAndTime(separator: "T", suffix: "Z") }

    /// The `Date` header's form, IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
    public var httpDate: String {
        let time = UTCTime(self)
        let weekday = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][time.weekday]
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][time.month - 1]
        var text = DigitText()
        text.append("\(weekday), ")
        text.append(time.day, digits: 2)
        text.append(" \(month) ")
        text.append(time.year, digits: 4)
        text.append(" ")
        text.append(timeOfDay: time)
        text.append(" GMT")
        return text.string
    }

    private func dateAndTime(separator: String, suffix: String) -> String {
        let time = UTCTime(self)
        var text = DigitText()
        text.append(time.year, digits: 4)
        text.append("-")
        text.append(time.month, digits: 2)
        text.append("-")
        text.append(time.day, digits: 2)
        text.append(separator)
        text.append(timeOfDay: time)
        text.append(fraction: time.nanosecond)
        text.append(suffix)
        return text.string
    }
}

/// Date and time of day in UTC. A `Timestamp` is between 1677 and 2262, so years have four digits.
private struct UTCTime {
    var year, month, day, hour, minute, second, nanosecond: Int
    /// 0 is Sunday.
    var weekday: Int

    init(_ timestamp: Timestamp) {
        let (seconds, nanoseconds) = timestamp.nanoseconds.flooredDivision(by: 1_000_000_000)
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        year = Int(parts.tm_year) + 1900
        month = Int(parts.tm_mon) + 1
        day = Int(parts.tm_mday)
        hour = Int(parts.tm_hour)
        minute = Int(parts.tm_min)
        second = Int(parts.tm_sec)
        weekday = Int(parts.tm_wday)
        nanosecond = Int(nanoseconds)
    }
}

extension Int64 {
    /// The remainder is never negative, also for times before 1970.
    fileprivate func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

private struct DigitText {
    private var bytes: [UInt8] = []

    init() { bytes.reserveCapacity(40) }

    var string: String { String(decoding: bytes, as: UTF8.self) }

    mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    mutating func append(_ number: Int, digits: Int) {
        let start = bytes.count
        var rest = number
        for _ in 0..<digits {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        }
        bytes[start...].reverse()
    }

    mutating func append(timeOfDay time: UTCTime) {
        append(time.hour, digits: 2)
        append(":")
        append(time.minute, digits: 2)
        append(":")
        append(time.second, digits: 2)
    }

    mutating func append(fraction nanosecond: Int) {
        if nanosecond == 0 { return }
        append(".")
        if nanosecond % 1_000_000 == 0 {
            append(nanosecond / 1_000_000, digits: 3)
        } else if nanosecond % 1000 == 0 {
            append(nanosecond / 1000, digits: 6)
        } else {
            append(nanosecond, digits: 9)
        }
    }
}
