/// What the file gives, value by value, before the rules that concern several of them.
struct ConfigDraft: Sendable {
    var exporter = ExporterDraft()
    var receiver = ReceiverDraft()
    var poll = PollDraft()

    /// The configuration, every broken rule noted.
    func config(with reader: inout ConfigReader) -> Config {
        let receiver = self.receiver.config(with: &reader)
        let exporter = self.exporter.config(beside: receiver.tcpSocket, with: &reader)
        let poll = self.poll.config(scrapeAddresses: self.exporter.validScrapeAddresses(with: reader), with: &reader)
        return Config(exporter: exporter, receiver: receiver, poll: poll)
    }
}

/// The values of `tls`.
enum TLSMode: String, CaseIterable, Sendable {
    case off
    case required
    case optional
}

/// A `tls_server_config` table.
struct TLSServerDraft: Sendable {
    /// The table's dotted key.
    let key: String
    var certFile: String?
    var keyFile: String?
    var minVersion: TLSVersion?
    var maxVersion: TLSVersion?

    /// The table's settings; nil when they are wrong, which has been noted then.
    func config(with reader: inout ConfigReader) -> TLSServerConfig? {
        let missing = ["cert_file", "key_file"].filter { !reader.isGiven("\(key).\($0)") }
        if !missing.isEmpty { reader.refuse(key, "\(key) needs \(missing.joined(separator: " and "))") }
        let versions = (minVersion ?? .tls12, maxVersion ?? .tls13)
        if versions.0 > versions.1 {
            reader.refuse(
                "\(key).min_version", "\(key).min_version \"\(versions.0.rawValue)\" is above max_version \"\(versions.1.rawValue)\"")
        }
        guard let certFile, let keyFile else { return nil }
        return TLSServerConfig(certFile: certFile, keyFile: keyFile, minVersion: versions.0, maxVersion: max(versions.0, versions.1))
    }

    /// The TLS of a listener whose `tls` key is `mode`.
    ///
    /// - Parameters:
    ///   - table: the dotted key of the listener's table.
    ///   - isUsed: whether the listener is switched on: only then are the files needed.
    static func listenerTLS(
        _ mode: TLSMode?, _ draft: TLSServerDraft?, of table: String, isUsed: Bool, with reader: inout ConfigReader
    ) -> ListenerTLS {
        let key = "\(table).tls_server_config"
        guard let draft else {
            if let mode, mode != .off, !reader.isGiven(key) {
                reader.refuse("\(table).tls", "\(table).tls is \"\(mode.rawValue)\" but there is no [\(key)] with cert_file and key_file")
            }
            return .off
        }
        guard let server = draft.config(with: &reader), isUsed, mode != .off else { return .off }
        reader.reference("\(key).cert_file", server.certFile)
        reader.reference("\(key).key_file", server.keyFile)
        return mode == .optional ? .optional(server) : .required(server)
    }
}
