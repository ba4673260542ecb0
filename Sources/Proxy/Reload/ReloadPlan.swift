/// The difference of two configurations: what has to be done for the second to run in place of the first. Empty means nothing to do.
///
/// Listeners and targets are compared one by one, everything else table by table as whole values: a setting that is added to a table is
/// part of the comparison.
public struct ReloadPlan: Equatable, Sendable {
    /// To be opened, in the order of the configuration.
    public var opens: [Door] = []
    /// To be closed; what is running and not among them stays.
    public var closes: [Door] = []
    /// Whether the table `[exporter]`, or a file that it names, is another: scrape listeners that stay get new settings.
    public var updatesExporter = false
    /// Whether the table `[receiver]`, or a file that it names, is another: receivers that stay get new settings.
    public var updatesReceiver = false
    /// Whether the table `[metrics]` or a limit of `[poll_external]` is another.
    public var updatesMetrics = false
    /// Whether open connections of the scrape listeners end after their current exchange.
    public var changesScrapeAccess = false
    /// Whether open connections of the TCP receiver end after their current message.
    public var changesReceiverAccess = false
    /// New ones, and those whose settings or files are others; polled anew from now on, in the order of the configuration.
    public var starts: [Target] = []
    /// To be polled no longer; their metrics leave.
    public var stops: [TargetURL] = []
    /// Those of which only the name is another: they take their metrics along and are not disturbed.
    public var renames: [Target] = []
    /// One line for each change, for people.
    public var changes: [String] = []
    /// The keys whose change takes effect with the next start only.
    public var needsRestart: [String] = []

    /// Whether nothing has to be done.
    public var isEmpty: Bool {
        opens.isEmpty && closes.isEmpty && !updatesExporter && !updatesReceiver && !updatesMetrics && starts.isEmpty && stops.isEmpty
            && renames.isEmpty
    }

    /// The way from `old`, which runs, to `new`; from nothing when there is no `old`.
    public init(from old: LoadedConfig?, to new: LoadedConfig) {
        planDoors(old?.config.doors ?? [], new.config.doors)
        planTables(old, new)
        planTargets(old, new)
        planFiles(old, new)
        if let old, old.config.exporter.workerThreads != new.config.exporter.workerThreads {
            needsRestart.append("exporter.worker_threads")
        }
    }

    private mutating func planDoors(_ old: [Door], _ new: [Door]) {
        // With port 0 the same address may be there several times.
        var left = old
        for door in new {
            if let index = left.firstIndex(of: door) { left.remove(at: index) } else { opens.append(door) }
        }
        closes = left
        // A socket's owner or mode has no way to change but through a new socket in the old one's place.
        let again = opens.first { door in door.socketPath != nil && closes.contains { $0.socketPath == door.socketPath } }
        if let again { changes.append("\(again): owner, group or mode has changed") }
        changes += closes.filter { $0.socketPath == nil || $0.socketPath != again?.socketPath }.map { "\($0) closes" }
        changes += opens.filter { $0 != again }.map { "\($0) opens" }
    }

    private mutating func planTables(_ old: LoadedConfig?, _ new: LoadedConfig) {
        guard let old else {
            updatesExporter = true
            updatesReceiver = true
            updatesMetrics = true
            return
        }
        var (before, after) = (old.config.exporter, new.config.exporter)
        // Neither is a setting of a running listener.
        before.workerThreads = after.workerThreads
        before.scrapeAddresses = after.scrapeAddresses
        updatesExporter = before != after || old.changedFiles(in: new, table: "exporter")
        changes += ConfigDifference.lines("exporter", before, after)

        var (receiverBefore, receiverAfter) = (old.config.receiver, new.config.receiver)
        receiverBefore.unixSocket = receiverAfter.unixSocket
        receiverBefore.tcpSocket = receiverAfter.tcpSocket
        updatesReceiver = receiverBefore != receiverAfter || old.changedFiles(in: new, table: "receiver")
        changes += ConfigDifference.lines("receiver", receiverBefore, receiverAfter)

        var (pollBefore, pollAfter) = (old.config.poll, new.config.poll)
        pollBefore.targets = []
        pollAfter.targets = []
        updatesMetrics = old.config.metrics != new.config.metrics || pollBefore != pollAfter
        changes += ConfigDifference.lines("metrics", old.config.metrics, new.config.metrics)
        changes += ConfigDifference.lines("poll_external", pollBefore, pollAfter)

        changesScrapeAccess = AccessRules.scrape(old) != AccessRules.scrape(new)
        changesReceiverAccess = AccessRules.receiver(old) != AccessRules.receiver(new)
    }

    private mutating func planTargets(_ old: LoadedConfig?, _ new: LoadedConfig) {
        let before = Dictionary((old?.config.poll.targets ?? []).map { ($0.url, $0) }) { first, _ in first }
        var left = before
        for target in new.config.poll.targets {
            guard let known = left.removeValue(forKey: target.url) else {
                starts.append(target)
                changes.append("target \(target.name) is polled")
                continue
            }
            if known.name != target.name { changes.append("target \(known.name) is now named \(target.name)") }
            var renamed = known
            renamed.name = target.name
            let hasNewFiles = target.files.contains { old?.files[$0] != new.files[$0] }
            if renamed != target || hasNewFiles {
                starts.append(target)
                changes += ConfigDifference.lines("target \(target.name)", renamed, target)
            } else if known.name != target.name {
                renames.append(target)
            }
        }
        let gone = (old?.config.poll.targets ?? []).filter { left[$0.url] != nil }
        stops = gone.map(\.url)
        changes += gone.map { "target \($0.name) is no longer polled" }
    }

    private mutating func planFiles(_ old: LoadedConfig?, _ new: LoadedConfig) {
        guard let old else { return }
        for reference in new.references {
            guard let before = old.files[reference.path], before != new.files[reference.path] else { continue }
            changes.append("\(reference.key): \(reference.path) has new contents")
        }
    }
}

extension LoadedConfig {
    /// Whether a file that a table names holds other bytes in `new`; a file named by one of the two only is a difference of the tables.
    fileprivate func changedFiles(in new: LoadedConfig, table: String) -> Bool {
        new.references.contains { $0.key.hasPrefix("\(table).") && files[$0.path] != new.files[$0.path] }
    }
}

extension Target {
    /// The files that it names.
    public var files: [String] {
        var files = [tls.caFile, tls.certFile, tls.keyFile]
        switch credentials {
        case .basic(_, .file(let path)), .authorization(_, .file(let path)): files.append(path)
        case .basic, .authorization, nil: break
        }
        return files.compactMap(\.self)
    }
}
