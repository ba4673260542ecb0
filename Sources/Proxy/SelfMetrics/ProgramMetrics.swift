import Synchronization

/// HTTP requests answered, by route and status code.
public final class RequestMetrics: Sendable {
    /// Every code that this program answers with.
    static let codes = [200, 204, 400, 401, 403, 404, 405, 406, 408, 411, 413, 414, 417, 421, 431, 500, 501, 503, 505, 508]
    static let other = "other"

    /// Whatever its app is called.
    private static let app = Router.paths.firstIndex(of: "/apps/NAME")

    private let paths: [String]
    /// For each path each code.
    private let counters: [Counter]
    private let labels: [String]

    /// - Parameter paths: the routes.
    init(paths: [String]) {
        self.paths = paths + [Self.other]
        counters = self.paths.flatMap { _ in Self.codes.map { _ in Counter() } }
        labels = self.paths.flatMap { path in Self.codes.map { ExpositionWriter.labels(("path", path), ("code", String($0))) } }
    }

    /// One more request was answered.
    /// - Parameter path: as it was asked for; `nil` when the request could not be read.
    public func count(path: String?, code: Int) {
        let route = path.flatMap { path in paths.firstIndex(of: path) ?? (path.hasPrefix("/apps/") ? Self.app : nil) } ?? paths.count - 1
        guard let code = Self.codes.firstIndex(of: code) else { return }
        counters[route * Self.codes.count + code].increment()
    }

    /// What was ever counted, and the successful scrapes in any case.
    var samples: [(labels: String, count: Int)] {
        // Nearly all of them are zero, at each scrape.
        counters.indices.compactMap { index in
            let count = counters[index].value
            return count > 0 || index == 0 ? (labels[index], count) : nil
        }
    }
}

/// How the loading of the configuration went: the one account of it, for the self-metrics and for `/apps`.
public final class ReloadMetrics: Sendable {
    /// The state after the last one.
    public struct State: Sendable {
        /// Reloads that took effect, the start not counted.
        public var successes = 0
        /// Reloads that left the configuration as it was.
        public var failures = 0
        /// When the configuration that runs was loaded.
        public var lastSuccess: Timestamp
        /// How the last reload went; `nil` before the first one.
        public var last: DaemonStatus.Reload?
    }

    private let state: Mutex<State>

    init(start: Timestamp) { state = Mutex(State(lastSuccess: start)) }

    /// The state now.
    public var now: State { state.withLock { $0 } }

    /// A reload has taken effect, or found nothing to change.
    public func succeeded(at time: Timestamp) {
        state.withLock { state in
            state.successes += 1
            state.lastSuccess = time
            state.last = DaemonStatus.Reload(time: time)
        }
    }

    /// A reload was refused.
    public func failed(_ reason: String, at time: Timestamp) {
        state.withLock { state in
            state.failures += 1
            state.last = DaemonStatus.Reload(time: time, error: reason)
        }
    }
}

/// What the system says of this process, at one moment.
public struct ProcessFigures: Equatable, Sendable {
    /// User and system time together.
    public var cpuNanoseconds: Int64
    /// Open file descriptors.
    public var openFiles: Int
    /// Their limit.
    public var maxFiles: Int
    /// Virtual memory.
    public var virtualBytes: Int
    /// Resident memory.
    public var residentBytes: Int
    /// When the process started.
    public var startTime: Timestamp
    /// Threads.
    public var threads: Int

    /// Figures as they were read.
    public init(
        cpuNanoseconds: Int64, openFiles: Int, maxFiles: Int, virtualBytes: Int, residentBytes: Int, startTime: Timestamp, threads: Int
    ) {
        self.cpuNanoseconds = cpuNanoseconds
        self.openFiles = openFiles
        self.maxFiles = maxFiles
        self.virtualBytes = virtualBytes
        self.residentBytes = residentBytes
        self.startTime = startTime
        self.threads = threads
    }
}
