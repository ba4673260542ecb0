import Synchronization

/// What the loop has done, for tests and diagnosis: shows that idle costs nothing and that nothing piles up.
final class WatchCounters: Sendable {
    struct Counts: Sendable {
        /// How often the thread woke up.
        var wakeUps = 0
        /// How often the files of one watcher were looked at.
        var looks = 0
        /// How often inotify was started over, which frees what the library cannot free otherwise.
        var restarts = 0
        /// How many watches the kernel holds for us.
        var watches = 0
    }

    private let counts = Mutex(Counts())

    var current: Counts { counts.withLock { $0 } }

    func update(_ change: (inout Counts) -> Void) { counts.withLock { change(&$0) } }
}
