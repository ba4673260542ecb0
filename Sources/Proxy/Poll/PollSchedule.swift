public import NIOCore

/// When a target is polled: once soon after the start, then at times that are one interval apart. The offset of these times comes from the
/// URL, so that targets with equal intervals are spread over the interval, and no target depends on the others.
///
/// The times are multiples of a slot of some milliseconds. With hundreds of targets, several are polled one after another after one
/// wake-up, which costs less than a wake-up for each.
public struct PollSchedule: Sendable {
    /// The length of a slot; short intervals have shorter slots.
    static let longestSlot: UInt64 = 250_000_000
    /// The smallest number of slots in an interval.
    static let leastSlots: UInt64 = 4
    /// The first polls of all targets are spread over this time, so that `/-/ready` does not wait for a long interval.
    static let firstPollSpread: UInt64 = 1_000_000_000

    /// Nanoseconds, never zero.
    private let interval: UInt64
    /// Nanoseconds, never zero.
    private let slot: UInt64
    private let hash: UInt64

    /// - Parameter interval: the time between two polls; less than a millisecond counts as one.
    public init(url: TargetURL, interval: Duration) {
        self.interval = UInt64(max(TimeAmount(interval).nanoseconds, 1_000_000))
        self.slot = min(PollSchedule.longestSlot, self.interval / PollSchedule.leastSlots)
        self.hash = PollSchedule.hash(of: url.description)
    }

    /// The time of the first poll: within a second of `start`, and within the interval.
    public func first(from start: NIODeadline) -> NIODeadline {
        NIODeadline.uptimeNanoseconds(start.uptimeNanoseconds &+ offset(within: min(interval, PollSchedule.firstPollSpread)))
    }

    /// The first of the target's times after `now`. Missed times (a slow poll, a suspended machine) are skipped.
    public func next(after now: NIODeadline) -> NIODeadline {
        let offset = offset(within: interval)
        let uptime = now.uptimeNanoseconds
        guard uptime >= offset else { return .uptimeNanoseconds(offset) }
        let missed = (uptime - offset) / interval
        return .uptimeNanoseconds(offset + (missed + 1) * interval)
    }

    /// The start of one of the slots of `time`.
    private func offset(within time: UInt64) -> UInt64 {
        let offset = hash % time
        return offset - offset % slot
    }

    /// FNV-1a with a final mix. Unlike `Hasher` it is the same in every process, and it spreads over all bits, because the remainder is
    /// used.
    private static func hash(of text: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
        return hash ^ (hash >> 33)
    }
}
