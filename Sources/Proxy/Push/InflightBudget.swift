import Synchronization

/// How many bytes of incomplete messages all connections may hold together (`max_inflight_size`). Used from any thread.
public final class InflightBudget: Sendable {
    private let limitBytes: Atomic<Int>
    private let reserved = Atomic<Int>(0)

    /// A budget of which nothing is reserved.
    public init(limit: ByteCount) {
        self.limitBytes = Atomic(limit.bytes)
    }

    /// Bytes that may be reserved together; a lower limit takes nothing away from who has reserved already.
    public var limit: ByteCount {
        get { ByteCount(limitBytes.load(ordering: .relaxed)) }
        set { limitBytes.store(newValue.bytes, ordering: .relaxed) }
    }

    /// Bytes reserved now.
    public var used: Int { reserved.load(ordering: .relaxed) }

    /// Reserves `bytes` more, all or none.
    /// - Returns: whether they fit.
    public func reserve(_ bytes: Int) -> Bool {
        guard bytes > 0 else { return true }
        let limit = limitBytes.load(ordering: .relaxed)
        var current = reserved.load(ordering: .relaxed)
        while true {
            guard bytes <= limit - current else { return false }
            let (exchanged, original) = reserved.weakCompareExchange(
                expected: current, desired: current + bytes, ordering: .relaxed)
            if exchanged { return true }
            current = original
        }
    }

    /// Gives back what was reserved.
    public func release(_ bytes: Int) {
        guard bytes > 0 else { return }
        let left = reserved.subtract(bytes, ordering: .relaxed).newValue
        assert(left >= 0, "released more than was reserved")
    }
}
