import Proxy
import Synchronization
import TLS

/// A target's TLS. Targets of equal settings share contexts.
struct TargetTLS: Sendable {
    /// For the target's own origin.
    let own: ClientContext
    /// For origins that redirects lead to: the same without the client certificate.
    let foreign: ClientContext
    /// The name to send and to verify in place of the URL's host, at the target's own origin.
    let serverName: String?

    /// When the client certificate expires, in seconds since 1970-01-01 UTC; `nil` without one.
    var certificateNotAfter: Int64? { own.made?.certificate?.notAfter }
}

/// A client's TLS context, made when it is first needed: the first one of a process takes two megabytes, which a process that polls only
/// plain HTTP does not need.
final class ClientContext: Sendable {
    private enum State {
        case settings(TLSClientSettings)
        case made(TLSContext)
    }

    private let state: Mutex<State>

    init(_ settings: TLSClientSettings) {
        state = Mutex(.settings(settings))
    }

    /// The context, if it has been made. Never blocks.
    var made: TLSContext? {
        let made: TLSContext?? = state.withLockIfAvailable { if case .made(let context) = $0 { context } else { nil } }
        return made ?? nil
    }

    /// The context; makes it at the first call. Blocks then: never call it on an event loop.
    /// - Throws: which of the settings is wrong and why, each time.
    func get() throws(TLSSettingsError) -> TLSContext {
        try state.withLock { state throws(TLSSettingsError) in
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

/// Makes the contexts of targets; those of equal settings share one.
struct ClientContexts {
    /// The contexts that were made. A later configuration takes them over.
    struct Made: Sendable {
        var authorities = SystemAuthorities()
        var contexts: [TLSClientSettings: ClientContext] = [:]
    }

    private let loaded: LoadedConfig
    private let unknownNames: UnknownTLSNames
    private let handshakeLimit: HandshakeLimit?
    private let times: CertificateTimes
    private let previous: Made
    private(set) var made: Made
    /// The results of checks, by settings. Each settings value is checked once, so each problem is reported once.
    private var checked: [TLSClientSettings: Bool] = [:]

    /// - Parameter previous: its contexts are taken over where neither settings nor files have changed.
    init(
        loaded: LoadedConfig, unknownNames: UnknownTLSNames, handshakeLimit: HandshakeLimit?, previous: Made?, times: CertificateTimes
    ) {
        self.loaded = loaded
        self.unknownNames = unknownNames
        self.handshakeLimit = handshakeLimit
        self.times = times
        let previous = previous ?? Made()
        self.previous = previous
        made = Made(authorities: previous.authorities.areOutOfDate ? SystemAuthorities() : previous.authorities)
    }

    /// - Returns: `nil` when there is a problem.
    mutating func tls(ofTarget index: Int, _ problems: inout [ConfigProblem]) -> TargetTLS? {
        let target = loaded.config.poll.targets[index]
        var config = target.tls
        var found: [ConfigProblem] = []
        let own = context(config, isNeeded: target.url.origin.isHTTPS, index, &found)
        config.certFile = nil
        config.keyFile = nil
        let foreign = context(config, isNeeded: false, index, &found)
        // Most settings are in both contexts, and so are their problems.
        for (number, problem) in found.enumerated() where !found[..<number].contains(problem) { problems.append(problem) }
        guard let own, let foreign else { return nil }
        return TargetTLS(own: own, foreign: foreign, serverName: config.serverName)
    }

    private mutating func context(
        _ config: TLSClientConfig, isNeeded: Bool, _ index: Int, _ problems: inout [ConfigProblem]
    ) -> ClientContext? {
        let settings = settings(config)
        let context = made.contexts[settings] ?? previous.contexts[settings] ?? ClientContext(settings)
        made.contexts[settings] = context
        guard isNeeded || config.canBeWrong else { return context }
        let isRight = checked[settings] ?? check(context, config, index, &problems)
        checked[settings] = isRight
        return isRight ? context : nil
    }

    private func settings(_ config: TLSClientConfig) -> TLSClientSettings {
        TLSClientSettings(
            trustRoots: config.caFile.map { .certificates($0.bytes) } ?? .system(made.authorities),
            certificateChain: config.certFile?.bytes, privateKey: config.keyFile?.bytes,
            verifiesPeer: !config.insecureSkipVerify, minVersion: TLSProtocolVersion(config.minVersion),
            maxVersion: TLSProtocolVersion(config.maxVersion), cipherSuites: unknownNames.usable(config.cipherSuites),
            curves: unknownNames.usable(config.curvePreferences),
            applicationProtocols: ["http/1.1"], handshakeLimit: handshakeLimit)
    }

    private func check(
        _ client: ClientContext, _ config: TLSClientConfig, _ index: Int, _ problems: inout [ConfigProblem]
    ) -> Bool {
        // The decoder has reported this problem.
        guard (config.certFile == nil) == (config.keyFile == nil) else { return false }
        let table = table(of: loaded.config.poll.targets[index])
        do throws(TLSSettingsError) {
            let context = try client.get()
            if let path = config.certFile?.path {
                problems += context.problemsOfChain(at: times).map {
                    loaded.origin.problem("\(table).cert_file", "\(table).cert_file: \(path): \($0)", severity: .warning)
                }
            }
            return true
        } catch {
            problems.append(problem(with: config, of: table, error))
            return false
        }
    }

    /// The dotted key of a target's TLS settings: its own table, or the general one.
    private func table(of target: Target) -> String {
        let own = "\(loaded.origin.targets[target.url] ?? "").tls_config"
        return loaded.origin.positions.keys.contains { $0.hasPrefix("\(own).") } ? own : "poll_external.tls_config"
    }

    /// A problem with a file's contents, at the key that names it.
    private func problem(with config: TLSClientConfig, of table: String, _ error: TLSSettingsError) -> ConfigProblem {
        let (name, path): (String, String?) =
            switch error {
            case .invalidTrustRoots: ("ca_file", config.caFile?.path)
            case .invalidPrivateKey, .privateKeyNeedsPassword, .certificateDoesNotMatchKey: ("key_file", config.keyFile?.path)
            default: ("cert_file", config.certFile?.path)
            }
        let key = "\(table).\(name)"
        let place = path.map { "\(key): \($0)" } ?? key
        return loaded.origin.problem(key, "\(place): \(error)")
    }
}

extension TLSClientConfig {
    /// Whether building its context can fail because of what the configuration says.
    fileprivate var canBeWrong: Bool {
        caFile != nil || certFile != nil || keyFile != nil || !cipherSuites.isEmpty || !curvePreferences.isEmpty
    }
}
