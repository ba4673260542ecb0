/// What the core may ask of the shell.
public protocol Lifecycle: Sendable {
    /// Whether the listeners are up, the first poll of each target has ended, and no stop has begun.
    var isReady: Bool { get }
}
