/// Waits until the edits of one save have ended: a while without any, the last one finished, or at the latest a fixed time after the first.
struct QuietPeriod: Sendable {
    private let quiet: Duration
    private let limit: Duration
    private var first: ContinuousClock.Instant?
    private var last: ContinuousClock.Instant?
    private var isUnfinished = false

    init(quiet: Duration, limit: Duration) {
        self.quiet = quiet
        self.limit = limit
    }

    /// Something happened.
    /// - Parameter isUnfinished: whether more is to come, however quiet it is meanwhile: half a file may look whole.
    mutating func touch(at now: ContinuousClock.Instant, isUnfinished: Bool = false) {
        first = first ?? now
        last = now
        self.isUnfinished = isUnfinished
    }

    /// When it is time to look; nil when nothing happened.
    var deadline: ContinuousClock.Instant? {
        guard let first, let last else { return nil }
        return isUnfinished ? first + limit : min(last + quiet, first + limit)
    }

    /// Whether it is time to look; if so, starts over.
    mutating func hasEnded(at now: ContinuousClock.Instant) -> Bool {
        guard let deadline, now >= deadline else { return false }
        first = nil
        last = nil
        isUnfinished = false
        return true
    }
}
