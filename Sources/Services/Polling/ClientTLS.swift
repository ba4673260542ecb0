import Synchronization
import TLS

/// A target's TLS settings as contexts, which targets of equal settings share.
struct ClientTLS: Sendable {
    /// For the target's own origin.
    let own: ClientContext
    /// For wherever redirects lead: the same without the client certificate.
    let foreign: ClientContext
    /// The name to send and to verify in place of the URL's host, at the target's own origin.
    let serverName: String?
}

/// A client's TLS context, made when it is first asked for: the first one of a process takes two megabytes, which nobody needs who polls plain HTTP.
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
