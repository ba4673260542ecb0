/// An app's place in the store, from its first version to its removal.
///
/// `@unchecked Sendable`: `app` and `isChanged` are only touched with the store's state lock held, `node` and `slot`
/// only with its builder lock held; `name` never changes.
final class AppRecord: @unchecked Sendable {
    let name: AppName
    /// The version in force; `nil` once removed.
    var app: StoredApp?
    /// Whether the builder has yet to hear of `app`.
    var isChanged = false
    /// The chunk's node that holds this app, and where; `nil` before the builder has placed it, never read after the removal.
    unowned var node: ChunkNode?
    var slot = 0

    init(name: AppName, app: StoredApp) {
        self.name = name
        self.app = app
    }
}
