/// Something for the log: watching is not as good as it could be, or is again.
public enum WatchNotice: Sendable, Equatable, CustomStringConvertible {
    /// Changes are noticed by `stat` alone, twice a second.
    case inotifyUnavailable(reason: String)
    /// inotify works again.
    case inotifyAvailable
    /// The kernel does not watch this path (no permission to read the directory, `fs.inotify.max_user_watches` reached); what it leads
    /// to is still looked at twice a second.
    case notWatched(path: String, reason: String)

    /// One line, lower case, without a period.
    public var description: String {
        switch self {
        case .inotifyUnavailable(let reason): "file changes are noticed by polling twice a second: \(reason)"
        case .inotifyAvailable: "file changes are noticed through inotify again"
        case .notWatched(let path, let reason): "changes in \(path) are noticed by polling twice a second: \(reason)"
        }
    }
}
