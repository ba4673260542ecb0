import Glibc
import Proxy

/// Reads what Linux says of this process (proc(5)). Takes up to a few hundred microseconds with many open descriptors.
enum ProcessReading {
    /// `nil` when `/proc` does not say what is expected.
    @Sendable static func now() -> ProcessFigures? {
        guard let stat = text(of: "/proc/self/stat"), let nameEnd = stat.lastIndex(of: ")") else { return nil }
        // The name may hold anything, so the fields are counted from behind it: state is the third.
        let fields = stat[stat.index(after: nameEnd)...].split(separator: " ")
        func field(_ number: Int) -> Int? { number - 3 < fields.count ? Int(fields[number - 3]) : nil }
        guard let userTicks = field(14), let systemTicks = field(15), let threads = field(20), let startTicks = field(22),
            let virtualBytes = field(23), let residentPages = field(24)
        else { return nil }
        let ticks = sysconf(Int32(_SC_CLK_TCK))
        guard ticks > 0, let bootTime, let openFiles else { return nil }
        let nanosecondsPerTick = 1_000_000_000 / Int64(ticks)
        return ProcessFigures(
            cpuNanoseconds: Int64(userTicks + systemTicks) * nanosecondsPerTick, openFiles: openFiles, maxFiles: maxFiles,
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
        // Neither `.` and `..` nor the descriptor of this very reading.
        return max(count - 3, 0)
    }

    private static var maxFiles: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        return Int(clamping: limit.rlim_cur)
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
