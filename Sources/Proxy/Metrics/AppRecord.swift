/// An app's place in the store, from its first version to its removal.
///
/// `@unchecked Sendable`: all but `name`, `node` and `slot` is only touched with the store's state lock held, `node` and `slot`
/// only with its builder lock held; `name` never changes.
final class AppRecord: @unchecked Sendable {
    let name: AppName
    /// The version in force; `nil` once removed.
    var app: StoredApp?
    /// Whether the builder has yet to hear of `app`.
    var isChanged = false
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
