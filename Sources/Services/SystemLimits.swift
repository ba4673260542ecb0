import Glibc
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
    /// What a configuration asks for.
    struct Demand: Equatable {
        /// `max_connections`, of all scrape listeners together.
        var scrape: Int
        /// `concurrent_requests`, of each receiver.
        var perReceiver: Int
        /// Receiving listeners.
        var receivers: Int
        /// Scrape listeners.
        var scrapeListeners: Int
        /// Polled targets. Each may keep a connection.
        var targets: Int
        var eventLoops: Int
    }

    /// Open connections of all scrape listeners together; at least 1.
    let scrape: Int
    /// Open connections of each receiver; at least 1.
    let perReceiver: Int
    /// Why these are less than what was asked for; `nil` when they are not.
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
        // Each side has half; what one does not need is the other's.
        scrape = max(1, min(demand.scrape, max(free / 2, free - wantedByReceivers)))
        perReceiver = max(1, min(demand.perReceiver, (free - scrape) / max(demand.receivers, 1)))
        let needed = reserve + demand.scrape + wantedByReceivers
        warning =
            "the limit of \(limit) open files is too low for max_connections (\(demand.scrape)) and concurrent_requests "
            + "(\(demand.perReceiver) for each of \(demand.receivers) receivers): \(scrape) connections to the scrape side and "
            + "\(perReceiver) to each receiver are allowed; lower these keys, or raise the limit to \(needed) (LimitNOFILE of the "
            + "systemd unit, ulimit -n)"
    }

    /// Descriptors that are for no connection of a peer.
    private static func reserve(_ demand: Demand) -> Int {
        // Standard streams, the watcher of files, sockets for name look-ups and systemd, and the files that a reload or a scrape opens.
        let program = 20
        // Each has a selector, a timer and an event descriptor.
        let loops = 3 * demand.eventLoops
        // A reload opens the new ones before it closes the old; each may hold a connection that it is about to refuse.
        let listeners = 3 * (demand.scrapeListeners + demand.receivers)
        // A kept connection each; some follow a redirect at the same time.
        let polls = demand.targets + min(demand.targets, 8)
        return program + loops + listeners + polls
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
                receivers: listeners.count - scrapeListeners, scrapeListeners: scrapeListeners, targets: config.poll.targets.count,
                eventLoops: eventLoops),
            limit: limit)
    }
}

/// How many cores this process may use: what the scheduler lets it run on, and what its control groups grant.
enum AvailableCores {
    /// At least one. A quota of one and a half cores counts as two. Reads a few small files: call it once.
    static func count() -> Int {
        let quota = quota(of: text("/proc/self/cgroup") ?? "", mounts: "/sys/fs/cgroup", read: text)
        let schedulable = schedulable(in: text("/proc/self/status") ?? "")
        return count(schedulable: schedulable ?? sysconf(Int32(_SC_NPROCESSORS_ONLN)), quota: quota)
    }

    /// - Parameter quota: in cores; `nil` means no limit.
    static func count(schedulable: Int, quota: Double?) -> Int {
        let granted = quota.map { Int(min($0, 65_536).rounded(.up)) } ?? schedulable
        return max(1, min(schedulable, granted))
    }

    /// The cores in the process's affinity mask; `nil` when it cannot be read.
    ///
    /// - Parameter status: `/proc/self/status`, whose `Cpus_allowed` is a mask in hexadecimal digits and commas (proc(5)).
    static func schedulable(in status: String) -> Int? {
        let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed:") }
        let count = line?.dropFirst("Cpus_allowed:".count).reduce(0) { $0 + ($1.hexDigitValue?.nonzeroBitCount ?? 0) } ?? 0
        return count > 0 ? count : nil
    }

    /// The smallest quota of the process's control group and all above it, in cores; `nil` means no limit (cgroups(7)).
    ///
    /// - Parameters:
    ///   - cgroups: `/proc/self/cgroup`.
    ///   - mounts: where the control groups are mounted.
    ///   - read: the text of a file; `nil` when it is not there.
    static func quota(of cgroups: String, mounts: String, read: (_ path: String) -> String?) -> Double? {
        var quotas: [Double] = []
        for line in cgroups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let controllers = parts[1].split(separator: ",")
            for group in ancestors(of: parts[2]) {
                if parts[0] == "0", controllers.isEmpty {
                    quotas += version2(read("\(mounts)\(group)/cpu.max"))
                } else if controllers.contains("cpu") {
                    // Mounted under the names of all its controllers, and usually under each one too.
                    for name in [String(parts[1]), "cpu"] {
                        let folder = "\(mounts)/\(name)\(group)"
                        quotas += version1(read("\(folder)/cpu.cfs_quota_us"), read("\(folder)/cpu.cfs_period_us"))
                    }
                }
            }
        }
        return quotas.min()
    }

    /// `/a/b`, `/a` and the root, which is empty. A container may see its own group at the root, whatever its path says.
    private static func ancestors(of path: Substring) -> [String] {
        let names = path.split(separator: "/")
        return (0...names.count).map { count in names.prefix(count).map { "/\($0)" }.joined() }
    }

    /// `QUOTA PERIOD`, or `max PERIOD`.
    private static func version2(_ text: String?) -> [Double] {
        let words = text?.split { $0 == " " || $0 == "\n" } ?? []
        guard words.count == 2, let quota = Double(words[0]), let period = Double(words[1]), quota > 0, period > 0 else { return [] }
        return [quota / period]
    }

    /// A quota of -1 means no limit.
    private static func version1(_ quota: String?, _ period: String?) -> [Double] {
        func number(_ text: String?) -> Double? { text.flatMap { Double($0.prefix { $0 != "\n" }) } }
        guard let quota = number(quota), let period = number(period), quota > 0, period > 0 else { return [] }
        return [quota / period]
    }

    private static func text(_ path: String) -> String? {
        guard let reading = try? readFile(path, limit: 64 << 10) else { return nil }
        return String(decoding: reading.bytes, as: UTF8.self)
    }
}

/// The system's clocks. The core gets its moments from here.
enum SystemClock {
    /// Both clocks.
    @Sendable static func now() -> Moment {
        Moment(time: time(), instant: Instant(nanoseconds: read(CLOCK_BOOTTIME)))
    }

    /// The wall clock alone.
    @Sendable static func time() -> Timestamp { Timestamp(nanoseconds: read(CLOCK_REALTIME)) }

    private static func read(_ clock: Int32) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
