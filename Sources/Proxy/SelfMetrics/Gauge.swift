import Synchronization

/// Goes up and down, from any thread.
public final class Gauge: Sendable {
    private let level = Atomic(0)

    /// At zero.
    public init() {}

    /// The level now.
    public var value: Int { level.load(ordering: .relaxed) }

    /// Adds `change`, which may be negative.
    public func add(_ change: Int) { level.add(change, ordering: .relaxed) }
}
