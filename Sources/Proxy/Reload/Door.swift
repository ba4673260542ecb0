/// Where a listener stands, and what cannot change while it stands there: what identifies it across reloads.
public enum Door: Hashable, Sendable, CustomStringConvertible {
    /// - Parameter leavesIPv4: of `[::]`: whether IPv4 is left to `0.0.0.0` listed beside it.
    case scrape(ListenAddress, leavesIPv4: Bool)
    case tcp(ListenAddress)
    case unix(UnixSocketConfig)

    /// For the log: `scrape listener 0.0.0.0:6555`.
    public var description: String {
        switch self {
        case .scrape(let address, _): "scrape listener \(address)"
        case .tcp(let address): "TCP receiver \(address)"
        case .unix(let socket): "Unix receiver \(socket.path)"
        }
    }
}

extension Door {
    /// Of a Unix receiver.
    var socketPath: String? {
        if case .unix(let socket) = self { socket.path } else { nil }
    }
}

extension Config {
    /// Every listener that is asked for, in the order of the file.
    public var doors: [Door] {
        let addresses = exporter.scrapeAddresses
        let scrape = addresses.map { address in
            let leavesIPv4 =
                address.host == "::" && address.port != 0
                && addresses.contains(ListenAddress(host: "0.0.0.0", port: address.port))
            return Door.scrape(address, leavesIPv4: leavesIPv4)
        }
        return scrape + [receiver.tcpSocket.map(Door.tcp), receiver.unixSocket.map(Door.unix)].compactMap(\.self)
    }
}
