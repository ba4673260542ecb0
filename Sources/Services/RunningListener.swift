import Proxy

/// A listener that a reload may keep, change or close.
struct RunningListener: Sendable {
    enum Kind: Sendable {
        case scrape(ScrapeListener)
        case receiver(Receiver)
    }

    /// Where it stands, as the configuration says.
    let identity: ListenerIdentity
    let kind: Kind

    var listener: Listener {
        switch kind {
        case .scrape(let scrape): scrape.listener
        case .receiver(let receiver): receiver.listener
        }
    }

    /// Whether it holds a TCP address that overlaps one of those asked for, or might: whoever shares a port without need does no harm.
    func hasPort(of identities: [ListenerIdentity]) -> Bool {
        guard let port = listener.port else { return false }
        return identities.contains { $0.port == port }
    }
}

extension ListenerIdentity {
    /// The port asked for; `nil` for a Unix socket, and where the system picks one.
    var port: UInt16? { address.flatMap { $0.port == 0 ? nil : $0.port } }

    /// The kind of listener, as in the log.
    var word: String {
        switch self {
        case .scrape: "scrape"
        case .tcp: "tcp"
        case .unix: "unix"
        }
    }
}
