import CMalloc
import NIOCore
import NIOPosix
import Proxy
import Synchronization

/// Gives memory back to the system after a burst. glibc keeps what is freed in the middle of its heaps for ever: without this, replaced
/// metrics and what was held for peers that are gone would stay resident.
final class MemoryReturn: Sendable {
    /// What the program holds, at one moment.
    struct Levels: Sendable {
        /// Bytes of metrics that were freed since start.
        var freed: UInt64 = 0
        /// For each thing that rises and falls: the most bytes since it was last asked, and the bytes now.
        var held: [(peak: Int, now: Int)] = []
    }

    /// How often the levels are read.
    private static let period = TimeAmount.seconds(1)

    private let levels: @Sendable () -> Levels
    private let pool: NIOThreadPool
    /// Guards what is remembered between two looks, and the time of the last walk.
    private let bursts = Mutex(Bursts())

    /// - Parameter levels: read once a second, on an event loop.
    init(pool: NIOThreadPool, levels: @escaping @Sendable () -> Levels) {
        self.levels = levels
        self.pool = pool
    }

    /// Begins to look; ends with the event loop.
    func start(on eventLoop: any EventLoop) {
        eventLoop.scheduleRepeatedTask(initialDelay: Self.period, delay: Self.period) { [self] _ in look() }
    }

    private func look() {
        let levels = levels()
        guard bursts.withLock({ $0.isWorthwhile(levels, at: .now()) }) else { return }
        pool.submit { [self] state in
            guard case .active = state else { return }
            let start = NIODeadline.now()
            malloc_trim(0)
            let end = NIODeadline.now()
            bursts.withLock { $0.trimmed(from: start, to: end) }
        }
    }

    /// Makes glibc give back large blocks, and the free end of each heap, as soon as they are freed. By default it raises both of its
    /// thresholds to tens of megabytes after the first large block, and `malloc_trim` does not touch the end of the heaps of threads
    /// (mallopt(3)). Called once, before threads start.
    static func configureHeaps() {
        _ = mallopt(M_MMAP_THRESHOLD, largeBlock)
        _ = mallopt(M_TRIM_THRESHOLD, largeBlock)
    }

    /// In bytes: large enough that ordinary pushes and scrapes stay within the heaps.
    private static let largeBlock: CInt = 4 << 20

    /// What one open connection takes beside what is counted for it: its channel, its handlers, a buffer to read into, TLS.
    static let connectionBytes = 32 << 10
}

/// Decides when a walk through the heaps is worth its time.
struct Bursts {
    /// What has to be freed in the meantime.
    static let worthwhile = 8 << 20
    /// A walk takes at most one part in so many of a core's time: it locks the heap that it is in.
    private static let rarity: Int64 = 50

    private var returned: UInt64 = 0
    /// The most of each level since the last walk.
    private var peaks: [Int] = []
    private var next = NIODeadline.uptimeNanoseconds(0)
    private var isTrimming = false

    /// Whether to walk now. When it says yes, `trimmed` has to follow.
    mutating func isWorthwhile(_ levels: MemoryReturn.Levels, at now: NIODeadline) -> Bool {
        if peaks.count < levels.held.count { peaks += Array(repeating: 0, count: levels.held.count - peaks.count) }
        var fallen = Int(clamping: levels.freed - min(returned, levels.freed))
        for (index, level) in levels.held.enumerated() {
            peaks[index] = max(peaks[index], level.peak)
            fallen += max(peaks[index] - level.now, 0)
        }
        guard !isTrimming, now >= next, fallen >= Self.worthwhile else { return false }
        returned = levels.freed
        for (index, level) in levels.held.enumerated() { peaks[index] = level.now }
        isTrimming = true
        return true
    }

    mutating func trimmed(from start: NIODeadline, to end: NIODeadline) {
        isTrimming = false
        next = end + .nanoseconds((end - start).nanoseconds * Self.rarity)
    }
}
