/// The difference of two configurations: what has to be done for the second to run in place of the first. Empty means nothing to do.
///
/// Listeners and targets are compared one by one, everything else table by table as whole values: a setting that is added to a table is
/// part of the comparison, and so are the contents of the files that it names.
public struct ReloadPlan: Equatable, Sendable {
    /// To be opened, in the order of the configuration.
    public var opens: [ListenerIdentity] = []
    /// To be closed; what is running and not among them stays.
    public var closes: [ListenerIdentity] = []
    /// Whether the table `[exporter]` is another: scrape listeners that stay get new settings.
    public var updatesExporter = false
    /// Whether the table `[receiver]` is another: receivers that stay get new settings.
    public var updatesReceiver = false
    /// Whether the table `[metrics]` or a limit of `[poll_external]` is another.
    public var updatesMetrics = false
    /// Whether open connections of the scrape listeners end after their current exchange.
    public var changesScrapeAccess = false
    /// Whether open connections of the TCP receiver end after their current message.
    public var changesReceiverAccess = false
    /// New targets, and those whose settings are others; polled anew from now on, in the order of the configuration.
    public var starts: [Target] = []
    /// To be polled no longer; their metrics leave.
    public var stops: [TargetURL] = []
    /// Targets whose name alone changed. They keep their metrics, and their polls go on.
    public var renames: [Target] = []
    /// One line for each change, for people.
    public var changes: [String] = []
    /// The keys whose change takes effect with the next start only.
    public var needsRestart: [String] = []

    /// Whether nothing has to be done.
    public var isEmpty: Bool {
        opens.isEmpty && closes.isEmpty && !updatesExporter && !updatesReceiver && !updatesMetrics
            && starts.isEmpty && stops.isEmpty && renames.isEmpty
    }

    /// The way from `old`, which runs, to `new`; from nothing when there is no `old`.
    public init(from old: LoadedConfig?, to new: LoadedConfig) {
        planListeners(old?.config.listeners ?? [], new.config.listeners)
        planTables(old?.config, new.config)
        if let old { changes += old.settings.changes(to: new.settings) }
        planTargets(old, new)
        if let old { tellNewContents(old.origin.files, new.origin.files) }
        if let old, old.config.exporter.workerThreads != new.config.exporter.workerThreads {
            needsRestart.append("exporter.worker_threads")
        }
    }

    private mutating func planListeners(_ old: [ListenerIdentity], _ new: [ListenerIdentity]) {
        // With port 0 the same address may be there several times.
        var left = old
        for listener in new {
            if let index = left.firstIndex(of: listener) { left.remove(at: index) } else { opens.append(listener) }
        }
        closes = left
        // A socket's owner or mode changes by a new socket in the old one's place.
        let again = opens.first { listener in listener.socketPath != nil && closes.contains { $0.socketPath == listener.socketPath } }
        if let again { changes.append("\(again): owner, group or mode has changed") }
        changes += closes.filter { $0.socketPath == nil || $0.socketPath != again?.socketPath }.map { "\($0) closes" }
        changes += opens.filter { $0 != again }.map { "\($0) opens" }
    }

    private mutating func planTables(_ old: Config?, _ new: Config) {
        guard let old else {
            updatesExporter = true
            updatesReceiver = true
            updatesMetrics = true
            return
        }
        // What is no setting of a running listener is compared elsewhere.
        var (exporterBefore, exporterAfter) = (old.exporter, new.exporter)
        exporterBefore.workerThreads = exporterAfter.workerThreads
        exporterBefore.scrapeAddresses = exporterAfter.scrapeAddresses
        updatesExporter = exporterBefore != exporterAfter
        var (receiverBefore, receiverAfter) = (old.receiver, new.receiver)
        receiverBefore.unixSocket = receiverAfter.unixSocket
        receiverBefore.tcpSocket = receiverAfter.tcpSocket
        receiverBefore.httpSocket = receiverAfter.httpSocket
        updatesReceiver = receiverBefore != receiverAfter
        var (pollBefore, pollAfter) = (old.poll, new.poll)
        pollBefore.targets = []
        pollAfter.targets = []
        updatesMetrics = old.metrics != new.metrics || pollBefore != pollAfter
        changesScrapeAccess = AccessRules.scrape(old) != AccessRules.scrape(new)
        changesReceiverAccess = AccessRules.receiver(old) != AccessRules.receiver(new)
    }

    private mutating func planTargets(_ old: LoadedConfig?, _ new: LoadedConfig) {
        let before = old?.config.poll.targets ?? []
        var left = Dictionary(before.map { ($0.url, $0) }) { first, _ in first }
        for target in new.config.poll.targets {
            guard let known = left.removeValue(forKey: target.url) else {
                starts.append(target)
                changes.append("target \(target.name) is polled")
                continue
            }
            if known.name != target.name { changes.append("target \(known.name) is now named \(target.name)") }
            var renamed = known
            renamed.name = target.name
            if renamed != target {
                starts.append(target)
                changes += old?.settings.changes(of: target.url, named: target.name, to: new.settings) ?? []
            } else if known.name != target.name {
                renames.append(target)
            }
        }
        let gone = before.filter { left[$0.url] != nil }
        stops = gone.map(\.url)
        changes += gone.map { "target \($0.name) is no longer polled" }
    }

    private mutating func tellNewContents(_ old: [ConfigOrigin.NamedFile], _ new: [ConfigOrigin.NamedFile]) {
        let before = Dictionary(old.map { ($0.content.path, $0.content) }) { first, _ in first }
        for file in new {
            guard let content = before[file.content.path], content != file.content else { continue }
            changes.append("\(file.key): \(content.path) has new contents")
        }
    }
}
