/// Where an app's metrics came from, as `/apps` shows it.
public enum Source: Hashable, Sendable, CustomStringConvertible {
    /// Pushed; the receiver's configured address or socket path.
    case push(listener: String)
    /// Polled; the target's `HOST:PORT` or socket path.
    case poll(endpoint: String)

    /// As `/apps` shows it.
    public var description: String {
        switch self {
        case .push(let listener): listener
        case .poll(let endpoint): "external_poll: \(endpoint)"
        }
    }
}
