import NIOCore
import Proxy
import TLS

/// A configuration, and everything that can be made from it before anything is opened. A start, a reload and `check` use it, so they find
/// the same problems.
struct PreparedConfig: Sendable {
    let loaded: LoadedConfig
    let contexts: TLSContexts
    /// In the order of the configuration.
    let targets: [PolledTarget]
    /// Which senders may use which app names.
    let owners: Owners

    var config: Config { loaded.config }

    /// Reads no file but the system's certificate authorities, users and groups. Blocks: never call it on an event loop.
    /// - Parameters:
    ///   - tickets: the keys of session tickets, kept across reloads.
    ///   - handshakeLimit: the limit of the memory of all TLS handshakes, kept across reloads.
    ///   - previous: the contexts in force. Those whose settings and files have not changed are kept.
    ///   - renewalNotice: certificates that expire within this time get a warning.
    /// - Throws: every problem found, in order of position, each with the key and line at fault, warnings among them.
    init(
        _ loaded: LoadedConfig, tickets: SessionTickets = SessionTickets(), handshakeLimit: HandshakeLimit? = nil,
        replacing previous: TLSContexts? = nil, renewalNotice: Duration = .zero
    ) throws(ConfigProblems) {
        var problems: [ConfigProblem] = []
        var made: TLSContexts?
        do throws(ConfigProblems) {
            made = try TLSContexts(
                loaded, tickets: tickets, handshakeLimit: handshakeLimit, replacing: previous,
                times: CertificateTimes(renewalNotice: renewalNotice))
        } catch {
            problems += error.problems
        }
        targets = Self.targets(of: loaded, made, &problems)
        problems += Self.targetsThatAreOwn(loaded)
        if let socket = loaded.config.receiver.unixSocket {
            problems += UnixSocketFile.faults(in: socket).map { loaded.problem(ofReceiver: $0, key: "receiver.receiver_unix_socket") }
        }
        var owners = Owners.none
        do throws(ConfigProblems) { owners = try Owners(loaded) } catch { problems += error.problems }
        if let path = loaded.config.receiver.stateFile {
            if let other = SavedFile.otherUse(of: path, in: loaded) {
                problems.append(loaded.problem(ofStateFile: "\(other): the state needs a file of its own"))
            } else if let fault = SavedFile.fault(in: path) {
                problems.append(loaded.problem(ofStateFile: fault))
            }
        }
        guard let made, problems.isEmpty else { throw ConfigProblems((problems + (made?.warnings ?? [])).inOrderOfPosition) }
        self.loaded = loaded
        contexts = made
        self.owners = owners
    }

    private static func targets(
        of loaded: LoadedConfig, _ contexts: TLSContexts?, _ problems: inout [ConfigProblem]
    ) -> [PolledTarget] {
        loaded.config.poll.targets.enumerated().compactMap { index, target in
            do throws(PollRequest.InvalidRequest) {
                return try PolledTarget(
                    target: target, tls: contexts?.targets[index], version: ProgramVersion.current)
            } catch {
                let table = loaded.origin.targets[target.url] ?? "poll_external"
                let key = error.file.flatMap { loaded.origin.key(naming: $0, in: table) } ?? table
                problems.append(loaded.origin.problem(key, "\(key): target \(target.name): \(error)"))
                return nil
            }
        }
    }

    /// A problem for each target that is an own scrape address, reached by an address of an interface. Of other ways to reach it, the
    /// decoder has told.
    private static func targetsThatAreOwn(_ loaded: LoadedConfig) -> [ConfigProblem] {
        let candidates = loaded.config.poll.targets.compactMap { target in
            loaded.config.exporter.scrapeAddresses.lazy.compactMap { own in target.url.host(behindWildcard: own).map { (target, $0, own) } }
                .first
        }
        guard !candidates.isEmpty, let devices = try? System.enumerateDevices() else { return [] }
        let addresses = Set(devices.compactMap { $0.address?.ipAddress })
        return candidates.filter { addresses.contains($0.1) }.map { target, _, own in
            let table = loaded.origin.targets[target.url] ?? "poll_external"
            let key = loaded.origin.positions["\(table).url"] == nil ? table : "\(table).url"
            return loaded.origin.problem(key, "\(key) is this proxy's own scrape address \(own)")
        }
    }

    /// Of every scrape listener.
    var scrapeSettings: ScrapeSettings {
        ScrapeSettings(config.exporter, transport: Transport(config.exporter.tls, context: contexts.scrape))
    }

    /// Of a receiver on a Unix socket, or of every other one.
    func receiverSettings(isUnix: Bool) -> ReceiverSettings {
        ReceiverSettings(config, transport: isUnix ? .off : Transport(config.receiver.tls, context: contexts.receiver))
    }

    /// Of the HTTP receiver.
    var httpReceiverSettings: HTTPReceiverSettings {
        HTTPReceiverSettings(config, transport: Transport(config.receiver.tls, context: contexts.receiver))
    }
}

extension Transport {
    /// - Parameter context: there whenever `tls` is not off.
    fileprivate init(_ tls: ListenerTLS, context: TLSContext?) {
        switch (tls, context) {
        case (.required, let context?): self = .required(context)
        case (.optional, let context?): self = .optional(context)
        default: self = .off
        }
    }
}

extension LoadedConfig {
    /// Why a receiver cannot listen. The problem has the key of the error, or else `key`.
    func problem(ofReceiver error: ListenError, key: String) -> ConfigProblem {
        let key = error.key.map { "receiver.\($0)" } ?? key
        return origin.problem(key, "\(key): \(error)")
    }

    /// Why a listener cannot be opened, at the key at fault.
    func problem(of identity: ListenerIdentity, _ error: ListenError) -> ConfigProblem {
        guard case .scrape(let address, _) = identity else { return problem(ofReceiver: error, key: identity.key) }
        let index = config.exporter.scrapeAddresses.firstIndex(of: address) ?? 0
        let item = "\(identity.key)[\(index)]"
        return origin.problem(origin.positions[item] == nil ? identity.key : item, "\(identity.key): \(error)")
    }
}
