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
    /// What is wrong with certificates and stops nothing: one that has expired, say.
    let warnings: [ConfigProblem]

    /// Builds all contexts from contents already read: touches no file but the system's certificate authorities. Those of a target that needs none
    /// until a redirect leads to `https`, and in which nothing can be wrong, are built then.
    /// - Parameters:
    ///   - tickets: the keys of session tickets, kept across reloads.
    ///   - now: what certificates are judged by.
    /// - Throws: every problem found, each with the key and line of the file at fault.
    init(
        _ loaded: LoadedConfig, tickets: SessionTickets = SessionTickets(), now: Timestamp = SystemClock.time()
    ) throws(ConfigProblems) {
        var servers = ServerContexts(loaded: loaded, tickets: tickets, now: now)
        scrape = servers.context(loaded.config.exporter.tls, of: "exporter", protocols: ["http/1.1"])
        receiver = servers.context(loaded.config.receiver.tls, of: "receiver", protocols: [])
        var clients = ClientContexts(loaded: loaded, now: now)
        var problems = servers.problems
        targets = loaded.config.poll.targets.map { clients.client(for: $0, &problems) }
        warnings = problems.filter { $0.severity == .warning }
        guard warnings.count == problems.count else { throw ConfigProblems(problems) }
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

        var namesFiles: Bool { caFile != nil || certFile != nil || keyFile != nil }
    }

    let loaded: LoadedConfig
    let now: Timestamp
    private var made: [Key: ClientContext] = [:]
    /// Whether those that must be right are; each is checked once, so that what is wrong is told once.
    private var checked: [Key: Bool] = [:]

    init(loaded: LoadedConfig, now: Timestamp) {
        self.loaded = loaded
        self.now = now
    }

    mutating func client(for target: Target, _ problems: inout [ConfigProblem]) -> ClientTLS? {
        let config = target.tls
        var key = Key(
            caFile: config.caFile, certFile: config.certFile, keyFile: config.keyFile, insecureSkipVerify: config.insecureSkipVerify,
            minVersion: config.minVersion)
        let own = context(key, isNeeded: target.url.origin.isHTTPS, &problems)
        key.certFile = nil
        key.keyFile = nil
        let foreign = context(key, isNeeded: false, &problems)
        guard let own, let foreign else { return nil }
        return ClientTLS(own: own, foreign: foreign, serverName: config.serverName)
    }

    private mutating func context(_ key: Key, isNeeded: Bool, _ problems: inout [ConfigProblem]) -> ClientContext? {
        let context = made[key] ?? ClientContext(settings(key))
        made[key] = context
        guard isNeeded || key.namesFiles else { return context }
        let isRight = checked[key] ?? check(context, key, &problems)
        checked[key] = isRight
        return isRight ? context : nil
    }

    private func settings(_ key: Key) -> TLSClientSettings {
        TLSClientSettings(
            trustRoots: key.caFile.map { .certificates(loaded.contents(of: $0)) } ?? .system,
            certificateChain: key.certFile.map(loaded.contents), privateKey: key.keyFile.map(loaded.contents),
            verifiesPeer: !key.insecureSkipVerify, minVersion: TLSProtocolVersion(key.minVersion),
            applicationProtocols: ["http/1.1"])
    }

    private func check(_ client: ClientContext, _ key: Key, _ problems: inout [ConfigProblem]) -> Bool {
        do throws(TLSError) {
            let context = try client.get()
            if let path = key.certFile, let reference = loaded.references.first(where: { $0.path == path }) {
                problems += context.problemsOfChain(at: now).map {
                    loaded.origin.problem(reference.key, "\(reference.key): \(path): \($0)", severity: .warning)
                }
            }
            return true
        } catch {
            let path: String?
            switch error {
            case .invalidTrustRoots: path = key.caFile
            case .invalidPrivateKey, .certificateDoesNotMatchKey: path = key.keyFile
            default: path = key.certFile
            }
            problems.append(loaded.problem(withFile: path, error))
            return false
        }
    }
}

extension LoadedConfig {
    func contents(of path: String) -> [UInt8] { files[path] ?? [] }

    /// A problem with a file's contents, at the key that names it.
    fileprivate func problem(withFile path: String?, _ error: TLSError) -> ConfigProblem {
        guard let path, let key = references.first(where: { $0.path == path })?.key else {
            return ConfigProblem(file: origin.file, position: nil, key: nil, message: "the system's certificate authorities: \(error)")
        }
        return origin.problem(key, "\(key): \(path): \(error)")
    }
}

extension TLSProtocolVersion {
    init(_ version: TLSVersion) {
        switch version {
        case .tls12: self = .tls12
        case .tls13: self = .tls13
        }
    }
}
