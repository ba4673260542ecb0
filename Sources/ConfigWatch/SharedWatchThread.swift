import Synchronization

/// The thread that all `FileWatcher`s of the process share, because libinotifytools exists once per process. It lives while there
/// is one of them.
enum SharedWatchThread {
    private struct Current {
        let thread: WatchThread
        var users: Int
    }

    /// Held while a thread ends, so that a new one does not ask for the library before the old one has given it back.
    private static let current = Mutex<Current?>(nil)

    static func enter() throws(WatchError) -> WatchThread {
        try current.withLock { current throws(WatchError) in
            var using: Current
            if let current { using = current } else { using = Current(thread: try WatchThread(), users: 0) }
            using.users += 1
            current = using
            return using.thread
        }
    }

    static func leave() {
        current.withLock { current in
            guard var using = current else { return }
            using.users -= 1
            current = using
            // On the thread itself nobody can wait for its end: it stays, asleep, for the next to come.
            guard using.users == 0, !using.thread.isCurrent else { return }
            using.thread.quit()
            current = nil
        }
    }
}
