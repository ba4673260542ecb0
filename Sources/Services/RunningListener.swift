import Proxy

/// A listener that a reload may keep, change or close.
struct RunningListener: Sendable {
    enum Kind: Sendable {
        case scrape(ScrapeListener)
        case receiver(Receiver)
    }

    /// Where it stands, as the configuration says.
    let door: Door
    let kind: Kind

    var listener: Listener {
        switch kind {
        case .scrape(let scrape): scrape.listener
        case .receiver(let receiver): receiver.listener
        }
    }

    /// Whether it holds a TCP address that overlaps one of those asked for, or might: whoever shares a port without need does no harm.
    func hasPort(of doors: [Door]) -> Bool {
        guard let port = listener.port else { return false }
        return doors.contains { $0.port == port }
    }
}

extension Door {
    /// `nil` for a Unix socket, and where the system picks one.
    var port: UInt16? {
        switch self {
        case .scrape(let address, _), .tcp(let address): address.port == 0 ? nil : address.port
        case .unix: nil
        }
    }

    /// The key that asked for it.
    var key: String {
        switch self {
        case .scrape: "exporter.scrape_expose_endpoint"
        case .tcp: "receiver.receiver_tcp_socket"
        case .unix: "receiver.receiver_unix_socket"
        }
    }

    /// The kind of listener, as in the log.
    var word: String {
        switch self {
        case .scrape: "scrape"
        case .tcp: "tcp"
        case .unix: "unix"
        }
    }
}
