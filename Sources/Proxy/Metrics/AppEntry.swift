/// One app as `/apps` shows it.
public struct AppEntry: Sendable {
    /// How its last update went.
    public enum State: Equatable, Sendable {
        case ok
        /// A polled app whose last poll failed, and why.
        case failing(reason: String)
        /// Not updated for `expire_after`: its metrics are gone; of a polled app, why its last poll failed, if it did.
        case expired(error: String?)
    }

    /// Its name.
    public var name: AppName
    /// The receiver that it came through, or the target that it was polled from.
    public var source: Source
    /// The peer that pushed it; `nil` for a polled app.
    public var sender: Sender?
    /// When its metrics were last replaced; `nil` for a target that never answered.
    public var lastUpdate: Moment?
    /// Its metrics; empty for a target that never answered, and once expired.
    public var exposition: Exposition
    /// How its last update went.
    public var state: State

    /// An app made of its parts.
    public init(
        name: AppName, source: Source, sender: Sender? = nil, lastUpdate: Moment?, exposition: Exposition, state: State
    ) {
        self.name = name
        self.source = source
        self.sender = sender
        self.lastUpdate = lastUpdate
        self.exposition = exposition
        self.state = state
    }
}
