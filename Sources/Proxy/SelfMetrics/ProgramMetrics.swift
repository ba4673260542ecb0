public import HTTP
import Synchronization

/// Counts HTTP requests that were answered, by route and status code. Used from any thread.
public final class RequestMetrics: Sendable {
    private struct Row {
        let path: RoutePath
        let code: Int
        /// Stored as text, because each scrape writes them.
        let labels: String
        var count = 0

        init(_ path: RoutePath, _ code: Int) {
            self.path = path
            self.code = code
            labels = ExpositionWriter.labels(("path", path.rawValue), ("code", String(code)))
        }
    }

    /// All combinations that have occurred, in order of path and code. Successful scrapes have a row from the start.
    private let rows = Mutex([Row(.metrics, 200)])

    init() {}

    /// Counts one answered request.
    /// - Parameter path: the requested path; `nil` when the request could not be read.
    public func count(path: String?, code: Int) {
        let path = RoutePath(serving: path)
        rows.withLock { rows in
            if let index = rows.firstIndex(where: { $0.path == path && $0.code == code }) {
                rows[index].count += 1
                return
            }
            var row = Row(path, code)
            row.count = 1
            let order = RoutePath.allCases
            func place(_ row: Row) -> (Int, Int) { (order.firstIndex(of: row.path) ?? order.count, row.code) }
            rows.insert(row, at: rows.firstIndex { place(row) < place($0) } ?? rows.count)
        }
    }

    func write(to writer: inout ExpositionWriter) {
        writer.begin(.requests)
        rows.withLock { for row in $0 { writer.sample(.requests, labels: row.labels, row.count) } }
    }
}

/// Counts connections that were closed because their reader was too slow, by reason. Used from any thread.
public final class CutReaderMetrics: Sendable {
    private let counters = ServerConnection.CutReason.allCases.map { reason in
        (reason: reason, labels: ExpositionWriter.labels(("reason", reason.rawValue)), count: Counter())
    }

    init() {}

    /// Counts one closed connection.
    public func count(_ reason: ServerConnection.CutReason) {
        counters.first { $0.reason == reason }?.count.increment()
    }

    var samples: [(labels: String, value: Int)] { counters.map { ($0.labels, $0.count.value) } }
}

/// The results of loading the configuration, for the self-metrics and for `/apps`. Used from any thread.
public final class ReloadMetrics: Sendable {
    /// The state after the last reload.
    public struct State: Sendable {
        /// Reloads that took effect. The start is not counted.
        public var successes = 0
        /// Reloads that were refused.
        public var failures = 0
        /// When the running configuration was loaded.
        public var lastSuccess: Timestamp
        /// The last reload; `nil` before the first one.
        public var last: DaemonStatus.Reload?
    }

    private let state: Mutex<State>

    init(start: Timestamp) { state = Mutex(State(lastSuccess: start)) }

    /// The state now.
    public var now: State { state.withLock { $0 } }

    /// Counts a reload that took effect or found nothing to change.
    public func succeeded(at time: Timestamp) {
        state.withLock { state in
            state.successes += 1
            state.lastSuccess = time
            state.last = DaemonStatus.Reload(time: time)
        }
    }

    /// Counts a reload that was refused.
    public func failed(_ reason: String, at time: Timestamp) {
        state.withLock { state in
            state.failures += 1
            state.last = DaemonStatus.Reload(time: time, error: reason)
        }
    }
}

/// The results of writing the state file. Used from any thread.
public final class StateFileMetrics: Sendable {
    /// The state after the last write.
    struct State: Sendable {
        var lastWrite: Timestamp?
        var isSuccessful = true
        var successes = 0
        var failures = 0
    }

    /// `nil` while there is no state file.
    private let state = Mutex<State?>(nil)

    init() {}

    var now: State? { state.withLock { $0 } }

    /// - Parameter exists: whether there is a state file.
    public func setExists(_ exists: Bool) {
        state.withLock { $0 = exists ? $0 ?? State() : nil }
    }

    /// Takes the time of the last write from a file of an earlier run.
    public func found(writtenAt time: Timestamp) {
        state.withLock { state in
            var new = state ?? State()
            new.lastWrite = time
            state = new
        }
    }

    /// Counts one write.
    public func ended(successfully: Bool, at time: Timestamp) {
        state.withLock { state in
            var new = state ?? State()
            new.isSuccessful = successfully
            if successfully {
                new.successes += 1
                new.lastWrite = time
            } else {
                new.failures += 1
            }
            state = new
        }
    }
}

/// The system's figures of this process at one moment.
public struct ProcessFigures: Equatable, Sendable {
    /// User and system time.
    public var cpuNanoseconds: Int64
    /// Open file descriptors.
    public var openFiles: Int
    /// The limit of open file descriptors.
    public var maxFiles: Int
    /// Virtual memory, in bytes.
    public var virtualBytes: Int
    /// Resident memory, in bytes.
    public var residentBytes: Int
    /// When the process started.
    public var startTime: Timestamp
    /// The number of threads.
    public var threads: Int

    /// Makes figures from their parts.
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
