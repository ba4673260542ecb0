import Proxy
import TLS

/// What a configuration asks for besides its doors, made before anything is opened: a start, a reload and `check` find the same faults by it.
struct Groundwork: Sendable {
    let contexts: TLSContexts
    /// In the order of the configuration.
    let targets: [PolledTarget]

    /// Reads no file but the system's certificate authorities, users and groups.
    /// - Parameters:
    ///   - tickets: the keys of session tickets, kept across reloads.
    ///   - handshakeLimit: what all TLS handshakes may hold together, kept across reloads.
    ///   - previous: what runs; its contexts are taken over where neither settings nor files have changed.
    ///   - renewalNotice: how long before its end a certificate is warned about.
    /// - Throws: every problem found, each with the key and line at fault, warnings among them.
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
        targets = Groundwork.targets(of: loaded, made, &problems)
        if let socket = loaded.config.receiver.unixSocket {
            problems += UnixSocketFile.faults(in: socket).map { loaded.problem(ofReceiver: $0, key: "receiver.receiver_unix_socket") }
        }
        guard let made, problems.isEmpty else { throw ConfigProblems(problems + (made?.warnings ?? [])) }
        contexts = made
    }

    private static func targets(
        of loaded: LoadedConfig, _ contexts: TLSContexts?, _ problems: inout [ConfigProblem]
    ) -> [PolledTarget] {
        loaded.config.poll.targets.enumerated().compactMap { index, target in
            do throws(PollRequest.InvalidRequest) {
                return try PolledTarget(
                    target: target, tls: contexts?.targets[index], version: ProgramVersion.current)
            } catch {
                let key = error.file.flatMap(loaded.origin.key)
                problems.append(loaded.origin.problem(key ?? "poll_external", "\(key ?? "poll_external"): target \(target.name): \(error)"))
                return nil
            }
        }
    }
}

extension LoadedConfig {
    /// Why a receiver cannot listen, at the key at fault: `key`, unless the error knows a better one.
    func problem(ofReceiver error: ListenError, key: String) -> ConfigProblem {
        let key = error.key.map { "receiver.\($0)" } ?? key
        return origin.problem(key, "\(key): \(error)")
    }
}
