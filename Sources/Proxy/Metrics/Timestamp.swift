/// A moment of wall-clock time, in nanoseconds since 1970-01-01 00:00:00 UTC. The core never reads a clock: times are handed in.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Since 1970-01-01 00:00:00 UTC, leap seconds not counted.
    public var nanoseconds: Int64

    /// A moment, in nanoseconds since 1970-01-01 00:00:00 UTC.
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The moment this much later; the last one there is when that lies beyond.
    func advanced(by duration: Duration) -> Timestamp {
        let (seconds, attoseconds) = duration.components
        let (whole, isTooLong) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, isTooLate) = nanoseconds.addingReportingOverflow(whole &+ attoseconds / 1_000_000_000)
        return Timestamp(nanoseconds: isTooLong || isTooLate ? .max : sum)
    }

    /// Whether `a` is earlier.
    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.nanoseconds < b.nanoseconds }
}
