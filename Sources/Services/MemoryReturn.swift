import CMalloc
import NIOCore
import NIOPosix
import Proxy
import Synchronization

/// Returns memory to the system after a burst. glibc keeps memory that is freed in the middle of its heaps: without this, the memory of
/// replaced metrics and of closed connections would stay resident.
final class MemoryReturn: Sendable {
    /// The memory that the program holds at one moment.
    struct Levels: Sendable {
        /// Bytes of metrics that were freed since start.
        var freed: UInt64 = 0
        /// For each level that rises and falls: the most bytes since the last reading, and the bytes now.
        var held: [(peak: Int, now: Int)] = []
    }

    /// How often the levels are read.
    private static let period = TimeAmount.seconds(1)
    /// How often glibc is asked how much is free. It looks at every free block for this.
    private static let surveyPeriod = TimeAmount.seconds(8)

    private let levels: @Sendable () -> Levels
    private let pool: ThreadPool
    /// Guards the levels of the last reading, and the time of the last trim.
    private let bursts = Mutex(Bursts())
    /// Guards the free bytes that were found since the last trim.
    private let heaps = Mutex(FreeHeaps())

    /// - Parameter levels: read once a second, on an event loop.
    init(pool: ThreadPool, levels: @escaping @Sendable () -> Levels) {
        self.levels = levels
        self.pool = pool
    }

    /// Starts reading the levels once a second, and looking at the heaps from time to time, until the event loop ends.
    func start(on eventLoop: any EventLoop) {
        eventLoop.repeats(every: Self.period) { [self] in look() }
        eventLoop.repeats(every: Self.surveyPeriod) { [self] in survey() }
    }

    /// The levels do not count everything: lists, compressed bytes and the proxy's own metrics are freed too.
    private func survey() {
        pool.submit { [self] isActive in
            guard isActive, heaps.withLock({ $0.isWorthwhile(free: Self.freeBytes) }) else { return }
            Self.returnNow()
            heaps.withLock { $0.trimmed(free: Self.freeBytes) }
        }
    }

    /// The free bytes within all heaps, whether they are resident or not (mallinfo(3)).
    private static var freeBytes: Int { Int(clamping: mallinfo2().fordblks) }

    private func look() {
        let levels = levels()
        guard bursts.withLock({ $0.isWorthwhile(levels, at: .now()) }) else { return }
        pool.submit { [self] isActive in
            guard isActive else { return }
            let start = NIODeadline.now()
            Self.returnNow()
            let end = NIODeadline.now()
            bursts.withLock { $0.trimmed(from: start, to: end) }
        }
    }

    /// Returns what is free now. It looks at all heaps, so it must not run on an event loop. The store calls it while it makes a large
    /// snapshot.
    @Sendable static func returnNow() { malloc_trim(0) }

    /// Makes glibc return large blocks, and the free end of each heap, as soon as they are freed. By default it raises both of its
    /// thresholds to tens of megabytes after the first large block, and `malloc_trim` does not touch the end of the heaps of threads
    /// (mallopt(3)). Called once, before threads start.
    static func configureHeaps() {
        _ = mallopt(M_MMAP_THRESHOLD, largeBlock)
        _ = mallopt(M_TRIM_THRESHOLD, largeBlock)
    }

    /// In bytes: large enough that ordinary pushes and scrapes stay within the heaps.
    private static let largeBlock: CInt = 4 << 20

    /// The memory of one open connection that is not counted elsewhere: its channel, handlers, read buffer, TLS.
    static let connectionBytes = 32 << 10
}

/// Decides from the free bytes in the heaps when to trim them. glibc does not say which of them have been returned already.
struct FreeHeaps {
    /// Free bytes that were in use since the last trim, and may be resident.
    static let worthwhile = 32 << 20

    /// The fewest free bytes since the last trim.
    private var fewest = Int.max

    /// Whether to trim now. If so, the caller must call `trimmed` afterwards.
    mutating func isWorthwhile(free: Int) -> Bool {
        fewest = min(fewest, free)
        return free - fewest >= Self.worthwhile
    }

    mutating func trimmed(free: Int) { fewest = free }
}

/// Decides from the levels when to trim the heaps.
struct Bursts {
    /// The bytes that must have been freed before a trim is worth its time.
    static let worthwhile = 8 << 20
    /// The shortest pause after a trim, as a multiple of its duration. A trim locks a heap, so these trims together take at most a
    /// fiftieth of a core's time.
    private static let minimumPauseFactor: Int64 = 50

    private var returned: UInt64 = 0
    /// The peak of each level since the last trim.
    private var peaks: [Int] = []
    private var next = NIODeadline.uptimeNanoseconds(0)
    private var isTrimming = false

    /// Whether to trim now. If so, the caller must call `trimmed` afterwards.
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
        next = end + .nanoseconds((end - start).nanoseconds * Self.minimumPauseFactor)
    }
}
