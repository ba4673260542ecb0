import Synchronization

/// Bytes that the program holds for its peers, by what it holds them for (`exporter_proxy_held_bytes{kind}`).
///
/// Each kind has one budget for all connections together. Code that keeps bytes for a peer reserves them here first, counted as the
/// memory that they really take, and releases them when it lets go of them.
public final class HeldBytes: Sendable {
    /// What the bytes are held for: the values of the label `kind`.
    public enum Kind: String, CaseIterable, Sendable {
        /// Bytes that were read from a connection and are not consumed yet: heads and bodies of requests.
        case reading
        /// Messages that receivers have begun to read, and pushes that are not applied yet.
        case pushing
        /// Bodies of targets that are being read.
        case polling
        /// Answers that their readers have not taken yet, beyond what is stored.
        case answering
        /// TLS handshakes that are under way.
        case handshaking
    }

    private let reading = ByteBudget()
    private let pushing = ByteBudget()
    private let polling = ByteBudget()
    private let answering = ByteBudget()
    private let handshaking = ByteBudget()

    /// Nothing is held, and nothing is limited before its limit is set.
    public init() {}

    /// The budget of one kind.
    public subscript(kind: Kind) -> ByteBudget {
        switch kind {
        case .reading: reading
        case .pushing: pushing
        case .polling: polling
        case .answering: answering
        case .handshaking: handshaking
        }
    }
}

/// How many bytes may be held together, and how many are. Used from any thread.
public final class ByteBudget: Sendable {
    private let limitBytes: Atomic<Int>
    private let reserved = Atomic<Int>(0)
    private let highest = Atomic<Int>(0)

    /// A budget without reservations.
    /// - Parameter limit: without one, bytes are counted and never refused.
    public init(limit: ByteCount = ByteCount(.max)) {
        self.limitBytes = Atomic(limit.bytes)
    }

    /// Bytes that may be reserved together. A lower limit takes nothing back that is reserved already.
    public var limit: ByteCount {
        get { ByteCount(limitBytes.load(ordering: .relaxed)) }
        set { limitBytes.store(newValue.bytes, ordering: .relaxed) }
    }

    /// Bytes reserved now.
    public var used: Int { reserved.load(ordering: .relaxed) }

    /// The most bytes that were reserved at once since this was last asked.
    public func takePeak() -> Int {
        let used = used
        return max(highest.exchange(used, ordering: .relaxed), used)
    }

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
            if exchanged {
                noteLevel(current + bytes)
                return true
            }
            current = original
        }
    }

    /// Counts `bytes` that are held already, whatever the limit says.
    public func add(_ bytes: Int) {
        guard bytes > 0 else { return }
        noteLevel(reserved.add(bytes, ordering: .relaxed).newValue)
    }

    /// Gives back what was reserved or added.
    public func release(_ bytes: Int) {
        guard bytes > 0 else { return }
        let left = reserved.subtract(bytes, ordering: .relaxed).newValue
        assert(left >= 0, "released more than was reserved")
    }

    private func noteLevel(_ level: Int) {
        // Most levels are not a new peak, and need no write that other threads would wait for.
        guard level > highest.load(ordering: .relaxed) else { return }
        highest.max(level, ordering: .relaxed)
    }
}

/// What one connection has reserved of a budget. It changes with what the connection holds, and is released with its owner.
public struct BudgetShare: ~Copyable, Sendable {
    private let budget: ByteBudget
    /// Bytes that are reserved now.
    public private(set) var held = 0

    /// Nothing is reserved yet.
    public init(of budget: ByteBudget) { self.budget = budget }

    deinit { budget.release(held) }

    /// The limit of the whole budget.
    public var limit: ByteCount { budget.limit }

    /// Reserves more, or releases some, until `bytes` are reserved.
    /// - Parameter always: so many are counted, whatever the limit says.
    /// - Returns: whether the budget has room for it, as it always has for less. If not, nothing changes.
    public mutating func hold(_ bytes: Int, always: Int = 0) -> Bool {
        guard bytes != held else { return true }
        if bytes > held {
            let free = max(0, min(bytes, always) - held)
            guard budget.reserve(bytes - held - free) else { return false }
            budget.add(free)
        } else {
            budget.release(held - bytes)
        }
        held = bytes
        return true
    }
}
