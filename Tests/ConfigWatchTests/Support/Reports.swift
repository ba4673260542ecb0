import ConfigWatch
import Synchronization
import Testing

/// What a watcher has told.
final class Reports: Sendable {
    private struct Told {
        var changes: [Set<String>] = []
        var notices: [WatchNotice] = []
    }

    private let told = Mutex(Told())

    func add(_ change: Set<String>) { told.withLock { $0.changes.append(change) } }
    func add(_ notice: WatchNotice) { told.withLock { $0.notices.append(notice) } }

    var changes: [Set<String>] { told.withLock { $0.changes } }
    var notices: [WatchNotice] { told.withLock { $0.notices } }

    /// Forgets the changes told so far.
    func forget() { told.withLock { $0.changes = [] } }

    /// Waits until a change of `path` has been told.
    func tell(of path: String) async -> Bool {
        await eventually { self.changes.contains { $0.contains(path) } }
    }
}

extension FileWatcher {
    /// Watches these files. What they hold now counts as unchanged.
    func watch(paths: Set<String>) {
        watch(read: Dictionary(uniqueKeysWithValues: paths.map { ($0, Reading.unknown) }))
    }
}
