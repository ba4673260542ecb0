public import HTTP
import Synchronization

/// The paths of the scrape side, as requests are counted by them: the values of the label `path`.
public enum RoutePath: String, CaseIterable, Sendable {
    case metrics = "/metrics"
    case selfMetrics = "/metrics/self"
    case apps = "/apps"
    /// One app, whatever its name is.
    case app = "/apps/NAME"
    case collisions = "/collisions"
    case discovery = "/sd"
    case healthy = "/-/healthy"
    case ready = "/-/ready"
    case reload = "/-/reload"
    case landing = "/"
    /// No path of ours, or a request that could not be read.
    case other

    /// The begin of each path of one app.
    static let appPrefix = "/apps/"

    /// The route that serves this path.
    init(serving path: String?) {
        guard let path else {
            self = .other
            return
        }
        self = RoutePath(rawValue: path) ?? (path.hasPrefix(Self.appPrefix) ? .app : .other)
    }
}

/// HTTP requests answered, by route and status code.
public final class RequestMetrics: Sendable {
    private struct Row {
        let path: RoutePath
        let code: Int
        /// Ready, since each scrape writes them.
        let labels: String
        var count = 0

        init(_ path: RoutePath, _ code: Int) {
            self.path = path
            self.code = code
            labels = ExpositionWriter.labels(("path", path.rawValue), ("code", String(code)))
        }
    }

    /// What was ever counted, in order of path and code; successful scrapes are there from the start.
    private let rows = Mutex([Row(.metrics, 200)])

    /// Nothing is counted yet.
    init() {}

    /// One more request was answered.
    /// - Parameter path: as it was asked for; `nil` when the request could not be read.
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

    var samples: [(labels: String, count: Int)] { rows.withLock { $0.map { ($0.labels, $0.count) } } }
}

/// Connections that were cut because of their readers, by reason.
public final class CutReaderMetrics: Sendable {
    private let counters = ServerConnection.CutReason.allCases.map { reason in
        (reason: reason, labels: ExpositionWriter.labels(("reason", reason.rawValue)), count: Counter())
    }

    /// Nothing is counted yet.
    init() {}

    /// One more connection was cut.
    public func count(_ reason: ServerConnection.CutReason) {
        counters.first { $0.reason == reason }?.count.increment()
    }

    var samples: [(labels: String, count: Int)] { counters.map { ($0.labels, $0.count.value) } }
}

/// How the configuration was loaded, for the self-metrics and for `/apps`.
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

/// How the state file is written.
public final class StateFileMetrics: Sendable {
    /// The state after the last writing.
    struct State: Sendable {
        var lastWrite: Timestamp?
        var isSuccessful = true
        var successes = 0
        var failures = 0
    }

    /// Guards the state; `nil` while there is no state file.
    private let state = Mutex<State?>(nil)

    init() {}

    var now: State? { state.withLock { $0 } }

    /// Whether there is a state file.
    public func setExists(_ exists: Bool) {
        state.withLock { $0 = exists ? $0 ?? State() : nil }
    }

    /// The file that is there was written then, by an earlier run of the program.
    public func found(writtenAt time: Timestamp) {
        state.withLock { state in
            var new = state ?? State()
            new.lastWrite = time
            state = new
        }
    }

    /// The file was written, or could not be.
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

/// What `/apps` shows about the program itself: its listeners, its last reload, its start time.
public struct DaemonStatus: Equatable, Sendable {
    /// One listener, as it is now.
    public struct Listener: Equatable, Sendable {
        /// Its purpose.
        public enum Kind: String, Equatable, Sendable {
            case scrape, tcp, unix, http
        }

        /// Address or socket path.
        public var name: String
        /// Its purpose.
        public var kind: Kind
        /// The format of a receiver; `nil` for a scrape listener and the HTTP receiver, whose requests name their format.
        public var format: PushFormat?
        /// `off`, `required` or `optional`.
        public var tls: String
        /// Open connections.
        public var openConnections: Int
        /// When its certificate ends; `nil` without TLS.
        public var certificateEnd: Timestamp?

        /// Makes a listener from its parts.
        public init(
            name: String, kind: Kind, format: PushFormat? = nil, tls: String = "off", openConnections: Int = 0,
            certificateEnd: Timestamp? = nil
        ) {
            self.name = name
            self.kind = kind
            self.format = format
            self.tls = tls
            self.openConnections = openConnections
            self.certificateEnd = certificateEnd
        }
    }

    /// How the last reload went.
    public struct Reload: Equatable, Sendable {
        /// When it ended.
        public var time: Timestamp
        /// Why it failed and the old configuration still runs; `nil` after a success.
        public var error: String?

        /// Makes a reload from its parts.
        public init(time: Timestamp, error: String? = nil) {
            self.time = time
            self.error = error
        }
    }

    /// The version of exporter-proxy.
    public var version: String
    /// When the program started.
    public var startTime: Timestamp
    /// In the order of the configuration.
    public var listeners: [Listener]
    /// `nil` before the first one.
    public var lastReload: Reload?

    /// Makes a status from its parts.
    public init(
        version: String = ProgramVersion.current, startTime: Timestamp, listeners: [Listener] = [], lastReload: Reload? = nil
    ) {
        self.version = version
        self.startTime = startTime
        self.listeners = listeners
        self.lastReload = lastReload
    }
}
