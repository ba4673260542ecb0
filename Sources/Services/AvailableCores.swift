import Glibc
import Proxy

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
