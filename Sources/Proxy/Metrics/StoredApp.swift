/// One version of an app in the store; replaced whole by the next one.
final class StoredApp: Sendable {
    let entry: AppEntry
    /// Whose outcome this is: a target's number in the store, or `nil` for a pushed app.
    let target: Int?

    init(_ entry: AppEntry, target: Int?) {
        self.entry = entry
        self.target = target
    }

    var name: AppName { entry.name }
    var size: Int { entry.exposition.size }

    /// Whether it takes one of `max_apps`: a target that never answered, or has expired, does not.
    var counts: Bool { entry.lastUpdate != nil && !(isExpired && target != nil) }

    var isExpired: Bool {
        if case .expired = entry.state { true } else { false }
    }

    /// This version with something else in its entry.
    func with(_ change: (inout AppEntry) -> Void) -> StoredApp {
        var entry = entry
        change(&entry)
        return StoredApp(entry, target: target)
    }
}
