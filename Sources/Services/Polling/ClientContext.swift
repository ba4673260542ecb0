import Synchronization
import TLS

/// A client's TLS context, made when it is first asked for: the first one of a process takes two megabytes, which who polls plain HTTP does not need.
final class ClientContext: Sendable {
    private enum State {
        case settings(TLSClientSettings)
        case made(TLSContext)
    }

    private let state: Mutex<State>

    init(_ settings: TLSClientSettings) {
        state = Mutex(.settings(settings))
    }

    /// - Throws: `TLSError` that says which of the settings is wrong and why, each time.
    func get() throws(TLSError) -> TLSContext {
        try state.withLock { state throws(TLSError) in
            switch state {
            case .made(let context):
                return context
            case .settings(let settings):
                let context = try TLSContext(client: settings)
                state = .made(context)
                return context
            }
        }
    }
}
