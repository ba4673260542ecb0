import CMalloc
import NIOCore
import NIOPosix
import Synchronization

/// Gives memory of replaced metrics back to the system: glibc keeps what is freed in the middle of its heaps for ever, after
/// each app was replaced a few times that is more than what is stored.
final class MemoryReturn: Sendable {
    /// How often it is looked whether there is something to give back.
    private static let period = TimeAmount.seconds(5)
    /// What has to be freed in the meantime to be worth a walk through the heaps, which takes a few milliseconds off the event loops.
    private static let worthwhile: UInt64 = 8 << 20

    private let freedBytes: @Sendable () -> UInt64
    private let pool: NIOThreadPool
    /// `freedBytes` at the last walk.
    private let returned = Atomic<UInt64>(0)

    /// - Parameter freedBytes: how many bytes of metrics were freed since the begin; asked on an event loop.
    init(freedBytes: @escaping @Sendable () -> UInt64, pool: NIOThreadPool) {
        self.freedBytes = freedBytes
        self.pool = pool
    }

    /// Begins to look; ends with the event loop.
    func start(on eventLoop: any EventLoop) {
        eventLoop.scheduleRepeatedTask(initialDelay: Self.period, delay: Self.period) { [self] _ in look() }
    }

    private func look() {
        let freed = freedBytes()
        guard freed - returned.load(ordering: .relaxed) >= Self.worthwhile else { return }
        returned.store(freed, ordering: .relaxed)
        pool.submit { state in
            if case .active = state { malloc_trim(0) }
        }
    }
}
