@testable import ConfigWatch

/// How changes come to be noticed.
enum Means: CaseIterable {
    /// inotify alone: the regular `stat` never comes.
    case inotify
    /// The regular `stat` alone: there is no inotify.
    case polling

    func watcher(_ reports: Reports, quiet: Duration = .milliseconds(100)) throws -> FileWatcher {
        let listener = WatchOrder.Listener(onNotice: { reports.add($0) }, onChange: { reports.add($0) })
        switch self {
        case .inotify:
            let timing = WatchTiming(quiet: quiet, tick: .seconds(3600))
            return FileWatcher(on: try SharedWatchThread.enter(), leave: { SharedWatchThread.leave() }, timing: timing, listener: listener)
        case .polling:
            let thread = try WatchThread(makeSource: { () throws(InotifyError) in throw .notAvailable(38) })
            return FileWatcher(
                on: thread, leave: { thread.quit() }, timing: WatchTiming(quiet: quiet, tick: .milliseconds(50)), listener: listener)
        }
    }
}
