import Synchronization

/// Counts up, from any thread.
public final class Counter: Sendable {
    private let count = Atomic(0)

    /// From zero.
    public init() {}

    /// The count now.
    public var value: Int { count.load(ordering: .relaxed) }

    /// Counts one more.
    public func increment() { count.add(1, ordering: .relaxed) }
}
