/// One version of an app in the store; replaced whole by the next one.
final class StoredApp: Sendable {
    /// Safe to share: it changes in `keep` alone, before the version is in the store and another thread can see it.
    nonisolated(unsafe) private(set) var entry: AppEntry
    /// Whose outcome this is: a target's number in the store, or `nil` for a pushed app.
    let target: Int?

    init(_ entry: AppEntry, target: Int?) {
        self.entry = entry
        self.target = target
    }

    var name: AppName { entry.name }
    /// Bytes of the metrics that are exposed.
    var size: Int { entry.exposition.size }
    /// Bytes that it takes: what `max_total_size` counts.
    var cost: Int { size + (entry.group?.size ?? 0) }

    /// Whether it takes one of `max_apps`: a target that never answered, or has expired, does not.
    var counts: Bool { entry.lastUpdate != nil && !(isExpired && target != nil) }

    var isExpired: Bool {
        if case .expired = entry.state { true } else { false }
    }

    /// Takes over what was found in the version before this one, until this one is checked. Called before the version is stored.
    func keep(_ check: AppCheck) { entry.check = check }

    /// This version with something else in its entry.
    func with(_ change: (inout AppEntry) -> Void) -> StoredApp {
        var entry = entry
        change(&entry)
        return StoredApp(entry, target: target)
    }
}

/// An app's place in the store, from its first version to its removal.
///
/// `@unchecked Sendable`: all but `name`, `node` and `slot` is only touched with the store's state lock held, `node` and `slot`
/// only with its builder lock held; `name` never changes.
final class AppRecord: @unchecked Sendable {
    let name: AppName
    /// The version in force; `nil` once removed.
    var app: StoredApp?
    /// Whether the next snapshot has to take `app` in.
    var isChanged = false
    /// Whether it waits for a check of its metrics.
    var isUnchecked = false
    /// When its metrics were last checked.
    var lastCheck: Instant?
    /// When the expiry queue looks at this record; `nil` while it does not wait there.
    var lookedAt: Instant?
    /// Which of the expired ones it is, counted from the first; `nil` unless it is one that makes room for others.
    var expiredNumber: UInt64?
    /// The chunk's node that holds this app, and where; `nil` before the builder has placed it, never read after the removal.
    unowned var node: ChunkNode?
    var slot = 0

    init(name: AppName, app: StoredApp) {
        self.name = name
        self.app = app
    }
}
