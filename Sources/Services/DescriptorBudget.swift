import Glibc
import NIOCore
import Proxy

/// The process's limit of open descriptors. Each connection takes one.
enum OpenFileLimit {
    /// Raises the soft limit to the hard one (getrlimit(2)): a usual soft limit of 1024 is less than one listener's connections.
    /// - Returns: the limit in force, or `nil` when it could not be read or raised.
    static func raise() -> UInt64? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        limit.rlim_cur = limit.rlim_max
        guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return UInt64(limit.rlim_cur)
    }

    /// The limit in force.
    static var current: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return .max }
        return Int(clamping: limit.rlim_cur)
    }
}

/// How many connections each side may have, so that pushers cannot take the descriptors that scrapes need, nor the other way round.
/// Descriptors for polls, files and the program itself are set aside first.
struct DescriptorBudget: Equatable {
    /// The connections that a configuration allows.
    struct Demand: Equatable {
        /// `max_connections`, of all scrape listeners together.
        var scrape: Int
        /// `concurrent_requests`, of each receiver.
        var perReceiver: Int
        /// Receiving listeners.
        var receivers: Int
        /// Scrape listeners.
        var scrapeListeners: Int
        /// Connections to targets, open or being opened.
        var targets: Int
        var eventLoops: Int
    }

    /// Open connections of all scrape listeners together; at least 1.
    let scrape: Int
    /// Open connections of each receiver; at least 1.
    let perReceiver: Int
    /// Why fewer connections are allowed than configured; `nil` when all are.
    let warning: String?

    /// - Parameter limit: of open descriptors.
    init(_ demand: Demand, limit: Int) {
        let reserve = Self.reserve(demand)
        let (wantedByReceivers, isTooMuch) = demand.perReceiver.multipliedReportingOverflow(by: demand.receivers)
        let free = max(limit - reserve, 0)
        guard isTooMuch || wantedByReceivers + demand.scrape > free else {
            scrape = demand.scrape
            perReceiver = demand.perReceiver
            warning = nil
            return
        }
        // Each side gets half, and what the other does not need.
        scrape = max(1, min(demand.scrape, max(free / 2, free - wantedByReceivers)))
        perReceiver = max(1, min(demand.perReceiver, (free - scrape) / max(demand.receivers, 1)))
        let needed = reserve + demand.scrape + wantedByReceivers
        warning =
            "the limit of \(limit) open files is too low for max_connections (\(demand.scrape)) and concurrent_requests "
            + "(\(demand.perReceiver) for each of \(demand.receivers) receivers): \(scrape) connections to the scrape side and "
            + "\(perReceiver) to each receiver are allowed; lower these keys, or raise the limit to \(needed) (LimitNOFILE of the "
            + "systemd unit, ulimit -n)"
    }

    /// Descriptors that are not for connections of peers.
    private static func reserve(_ demand: Demand) -> Int {
        // Standard streams, the watcher of files, sockets for name look-ups and systemd, and the files that a reload or a scrape opens.
        let program = 20
        // Each has a selector, a timer and an event descriptor.
        let loops = 3 * demand.eventLoops
        // A reload opens the new ones before it closes the old; each may hold a connection that it is about to refuse.
        let listeners = 3 * (demand.scrapeListeners + demand.receivers)
        // Some follow a redirect at the same time.
        let polls = demand.targets + min(demand.targets, 8)
        return program + loops + listeners + polls
    }
}

extension Target {
    /// The most descriptors that connecting to it takes at once: one for each address of a name that is tried.
    fileprivate var descriptors: Int {
        let host: String
        switch (proxyURL?.host, url.origin) {
        case (let proxy?, _): host = proxy
        case (nil, .http(let name, _)), (nil, .https(let name, _)): host = name
        case (nil, .unix): return 1
        }
        return (try? SocketAddress(ipAddress: host, port: 0)) == nil ? 2 * TargetConnector.maxAddresses : 1
    }
}

extension DescriptorBudget {
    /// The budget of a configuration under the limit in force.
    init(_ config: Config, eventLoops: Int, limit: Int = OpenFileLimit.current) {
        let listeners = config.listeners
        let scrapeListeners = listeners.count { if case .scrape = $0 { true } else { false } }
        self.init(
            Demand(
                scrape: config.exporter.maxConnections, perReceiver: config.exporter.concurrentRequests,
                receivers: listeners.count - scrapeListeners, scrapeListeners: scrapeListeners,
                targets: config.poll.targets.reduce(0) { $0 + $1.descriptors },
                eventLoops: eventLoops),
            limit: limit)
    }
}
