import Glibc
import Proxy

/// Reads Linux's figures of this process (proc(5)). Takes up to a few hundred microseconds with many open descriptors.
enum ProcessReading {
    /// `nil` when `/proc` has not the expected form.
    @Sendable static func now() -> ProcessFigures? {
        guard let stat = text(of: "/proc/self/stat"), let nameEnd = stat.lastIndex(of: ")") else { return nil }
        // The name may contain spaces and brackets, so count the fields after it. The first of them, the state, has the number 3.
        let fields = stat[stat.index(after: nameEnd)...].split(separator: " ")
        func field(_ number: Int) -> Int? { number - 3 < fields.count ? Int(fields[number - 3]) : nil }
        guard let userTicks = field(14), let systemTicks = field(15), let threads = field(20), let startTicks = field(22),
            let virtualBytes = field(23), let residentPages = field(24)
        else { return nil }
        let ticks = sysconf(Int32(_SC_CLK_TCK))
        guard ticks > 0, let bootTime, let openFiles else { return nil }
        let nanosecondsPerTick = 1_000_000_000 / Int64(ticks)
        return ProcessFigures(
            cpuNanoseconds: Int64(userTicks + systemTicks) * nanosecondsPerTick, openFiles: openFiles, maxFiles: OpenFileLimit.current,
            virtualBytes: virtualBytes, residentBytes: residentPages * Int(sysconf(Int32(_SC_PAGESIZE))),
            startTime: Timestamp(nanoseconds: bootTime + Int64(startTicks) * nanosecondsPerTick), threads: threads)
    }

    /// In nanoseconds since 1970-01-01 UTC; read once, since the system computes it anew from clocks that drift apart.
    private static let bootTime: Int64? = {
        guard let line = text(of: "/proc/stat")?.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }) else { return nil }
        return Int64(line.dropFirst(6)).map { $0 * 1_000_000_000 }
    }()

    private static var openFiles: Int? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // Without `.`, `..` and the descriptor of this folder.
        return max(count - 3, 0)
    }

    /// A file of `/proc`, which is read in one go.
    private static func text(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = read(descriptor, &block, block.count)
            guard count > 0 else { return count == 0 ? String(decoding: bytes, as: UTF8.self) : nil }
            bytes += block[..<count]
        }
    }
}

/// How many cores this process may use, by its affinity mask and the quotas of its control groups.
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
