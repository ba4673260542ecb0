import Proxy
import TLS

/// Every TLS context that one configuration asks for: the one place where TLS settings and file contents become contexts.
struct TLSContexts: Sendable {
    /// Of the scrape listeners; `nil` when they speak plain HTTP alone.
    let scrape: TLSContext?
    /// Of the TCP receiver.
    let receiver: TLSContext?
    /// Of each target, in the order of the configuration's targets.
    let targets: [ClientTLS?]

    /// Builds all contexts from contents already read: touches no file but the system's certificate authorities.
    /// - Throws: every problem found, each with the key and line of the file at fault.
    init(_ loaded: LoadedConfig) throws(ConfigProblems) {
        var problems: [ConfigProblem] = []
        scrape = TLSContexts.server(loaded.config.exporter.tls, key: "exporter", protocols: ["http/1.1"], loaded, &problems)
        receiver = TLSContexts.server(loaded.config.receiver.tls, key: "receiver", protocols: [], loaded, &problems)
        var clients = ClientContexts(loaded: loaded)
        targets = loaded.config.poll.targets.map { clients.client(for: $0.tls, &problems) }
        guard problems.isEmpty else { throw ConfigProblems(problems) }
    }

    private static func server(
        _ tls: ListenerTLS, key: String, protocols: [String], _ loaded: LoadedConfig, _ problems: inout [ConfigProblem]
    ) -> TLSContext? {
        let config: TLSServerConfig
        switch tls {
        case .off: return nil
        case .required(let given), .optional(let given): config = given
        }
        let table = "\(key).tls_server_config"
        do throws(TLSError) {
            return try TLSContext(
                server: TLSServerSettings(
                    certificateChain: loaded.contents(of: config.certFile), privateKey: loaded.contents(of: config.keyFile),
                    minVersion: TLSProtocolVersion(config.minVersion), maxVersion: TLSProtocolVersion(config.maxVersion),
                    applicationProtocols: protocols))
        } catch {
            let isKey: Bool
            switch error {
            case .invalidPrivateKey, .certificateDoesNotMatchKey: isKey = true
            default: isKey = false
            }
            let key = isKey ? "\(table).key_file" : "\(table).cert_file"
            problems.append(loaded.origin.problem(key, "\(key): \(isKey ? config.keyFile : config.certFile): \(error)"))
            return nil
        }
    }
}

/// Makes the client contexts of targets; targets of equal settings share one, for the system's authorities alone take a megabyte.
private struct ClientContexts {
    private struct Key: Hashable {
        var caFile: String?
        var certFile: String?
        var keyFile: String?
        var insecureSkipVerify: Bool
        var minVersion: TLSVersion
    }

    let loaded: LoadedConfig
    private var made: [Key: TLSContext?] = [:]

    init(loaded: LoadedConfig) { self.loaded = loaded }

    mutating func client(for config: TLSClientConfig, _ problems: inout [ConfigProblem]) -> ClientTLS? {
        var key = Key(
            caFile: config.caFile, certFile: config.certFile, keyFile: config.keyFile, insecureSkipVerify: config.insecureSkipVerify,
            minVersion: config.minVersion)
        let own = context(key, &problems)
        key.certFile = nil
        key.keyFile = nil
        let foreign = context(key, &problems)
        guard let own, let foreign else { return nil }
        return ClientTLS(own: own, foreign: foreign, serverName: config.serverName)
    }

    private mutating func context(_ key: Key, _ problems: inout [ConfigProblem]) -> TLSContext? {
        if let made = made[key] { return made }
        let new = make(key, &problems)
        // A failure too is remembered, so that it is reported once.
        made[key] = .some(new)
        return new
    }

    private func make(_ key: Key, _ problems: inout [ConfigProblem]) -> TLSContext? {
        let settings = TLSClientSettings(
            trustRoots: key.caFile.map { .certificates(loaded.contents(of: $0)) } ?? .system,
            certificateChain: key.certFile.map(loaded.contents), privateKey: key.keyFile.map(loaded.contents),
            verifiesPeer: !key.insecureSkipVerify, minVersion: TLSProtocolVersion(key.minVersion),
            applicationProtocols: ["http/1.1"])
        do throws(TLSError) {
            return try TLSContext(client: settings)
        } catch {
            let path: String?
            switch error {
            case .invalidTrustRoots: path = key.caFile
            case .invalidPrivateKey, .certificateDoesNotMatchKey: path = key.keyFile
            default: path = key.certFile
            }
            problems.append(loaded.problem(withFile: path, error))
            return nil
        }
    }
}

extension LoadedConfig {
    fileprivate func contents(of path: String) -> [UInt8] { files[path] ?? [] }

    /// A problem with a file's contents, at the key that names it.
    fileprivate func problem(withFile path: String?, _ error: TLSError) -> ConfigProblem {
        guard let path, let key = references.first(where: { $0.path == path })?.key else {
            return ConfigProblem(file: origin.file, position: nil, key: nil, message: "the system's certificate authorities: \(error)")
        }
        return origin.problem(key, "\(key): \(path): \(error)")
    }
}

extension TLSProtocolVersion {
    fileprivate init(_ version: TLSVersion) {
        switch version {
        case .tls12: self = .tls12
        case .tls13: self = .tls13
        }
    }
}
