/// The only way into the store for pushes and polls. What is checked or changed in metrics before they are stored belongs here, so that
/// no receiver and no target can go around it.
///
/// Used from any thread. Takes time in proportion to the bytes of the metrics: pushes above 64 KiB belong on a pool.
public final class Intake: Sendable {
    /// Where the metrics go.
    public let store: MetricStore
    private let clock: @Sendable () -> Moment

    /// - Parameter clock: gives the moment of update that an app gets.
    public init(store: MetricStore, clock: @escaping @Sendable () -> Moment) {
        self.store = store
        self.clock = clock
    }

    /// Applies all apps of a push, or none of them.
    /// - Parameters:
    ///   - sender: the peer that pushes; kept with each app.
    ///   - source: the receiver.
    /// - Throws: why the push is refused; what was stored stays.
    public func apply(_ push: Push, from sender: Sender, through source: Source) throws(Rejection) {
        try store.apply(push, from: source, sender: sender, at: clock())
    }

    /// Records the end of a poll: a success replaces the app's metrics, a failure only marks the app.
    /// - Returns: what was recorded; a success that is refused is recorded as the failure that is returned.
    @discardableResult
    public func record(_ outcome: PollOutcome, for target: TargetURL) -> PollOutcome {
        store.record(outcome, for: target, at: clock())
    }
}
