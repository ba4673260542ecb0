/// The table `[exporter]`.
struct ExporterDraft: Sendable {
    var config = ExporterConfig()
    var scrapeAddresses: [Keyed<ListenAddress>]?
    var expireAfter: Duration?
    var tls: TLSMode?
    var tlsServer: TLSServerDraft?

    /// Each address with the key that gave it; empty when the key's value is wrong.
    func validScrapeAddresses(with reader: ConfigReader) -> [Keyed<ListenAddress>] {
        if let scrapeAddresses { return scrapeAddresses }
        guard !reader.isGiven(ExporterDraft.addressKey) else { return [] }
        return config.scrapeAddresses.map { Keyed(key: ExporterDraft.addressKey, value: $0) }
    }

    /// - Parameter receiver: the TCP receiver's address.
    func config(beside receiver: ListenAddress?, with reader: inout ConfigReader) -> ExporterConfig {
        var config = self.config
        if let scrapeAddresses { config.scrapeAddresses = scrapeAddresses.map(\.value) }
        config.expireAfter = expireAfter == .zero ? nil : expireAfter
        checkOverlaps(beside: receiver, with: &reader)
        config.tls = TLSServerDraft.listenerTLS(tls, tlsServer, of: "exporter", isUsed: true, with: &reader)
        warnOfPlainPasswords(config, with: &reader)
        return config
    }

    /// A password that is sent in plain text is one that others can read.
    private func warnOfPlainPasswords(_ config: ExporterConfig, with reader: inout ConfigReader) {
        let key = "exporter.basic_auth_users"
        guard !config.basicAuthUsers.isEmpty else { return }
        switch tls ?? (tlsServer == nil ? .off : .required) {
        case .required: break
        case .optional:
            reader.warn(key, "\(key): tls is \"optional\", so that passwords may be sent in plain text; did you mean \"required\"?")
        case .off:
            guard !config.scrapeAddresses.allSatisfy({ NumericAddress($0.host)?.isLoopback ?? false }) else { break }
            reader.warn(key, "\(key): without TLS passwords are sent in plain text")
        }
    }

    private func checkOverlaps(beside receiver: ListenAddress?, with reader: inout ConfigReader) {
        let addresses = validScrapeAddresses(with: reader)
        for (index, address) in addresses.enumerated() {
            // `[::]:P` leaves IPv4 to a `0.0.0.0:P` beside it (SPEC §3).
            let earlier = addresses[..<index].first {
                $0.value.overlaps(address.value) && Set([$0.value.host, address.value.host]) != ["::", "0.0.0.0"]
            }
            if let earlier {
                let relation = earlier.value == address.value ? "repeats" : "overlaps with"
                reader.refuse(
                    address.key,
                    "\(address.key) \(address.value) \(relation) \(earlier.key)\(earlier.value == address.value ? "" : " \(earlier.value)")"
                )
            }
        }
        guard let receiver, let taken = addresses.first(where: { $0.value.overlaps(receiver) }) else { return }
        // The later of the two is the one that was added.
        let receiverKey = "receiver.receiver_tcp_socket"
        let other = "\(taken.key) \(taken.value)"
        if reader.isGiven(receiverKey) {
            reader.refuse(receiverKey, "\(receiverKey) \(receiver) overlaps with \(other); each needs an address or port of its own")
        } else {
            reader.refuse(taken.key, "\(other) overlaps with \(receiverKey) \(receiver); each needs an address or port of its own")
        }
    }

    private static let addressKey = "exporter.scrape_expose_endpoint"
}
