import Synchronization

/// The settings in force: one immutable value, replaced whole by a reload, read once by each new connection.
final class SettingsInForce<Value: Sendable>: Sendable {
    /// Guards the value itself, which nobody changes in place.
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    var now: Value { value.withLock { $0 } }

    func replace(with new: Value) { value.withLock { $0 = new } }
}
