import CInotify
import Glibc
import Synchronization

/// The loop's state of one `FileWatcher`.
struct Subscription {
    let listener: WatchOrder.Listener
    private(set) var files: [String: FileState] = [:]
    private var quiet: QuietPeriod
    private let tickInterval: Duration
    private var nextTick: ContinuousClock.Instant
    /// The events that concern it: for a directory the names in it, for a file none.
    private var concerns: [FileIdentity: Set<String>] = [:]

    init(listener: WatchOrder.Listener, timing: WatchTiming, at now: ContinuousClock.Instant) {
        self.listener = listener
        tickInterval = timing.tick
        nextTick = now + timing.tick
        quiet = QuietPeriod(quiet: timing.quiet, limit: timing.quietLimit)
    }

    mutating func watch(_ wanted: [String: FileState], replacing: Bool) {
        files = replacing ? wanted : wanted.merging(files.filter { wanted[$0.key] != nil }) { _, known in known }
    }

    /// The latest time for the next look; `nil` when there is nothing to watch.
    var nextMoment: ContinuousClock.Instant? {
        guard !files.isEmpty else { return nil }
        return quiet.deadline.map { min($0, nextTick) } ?? nextTick
    }

    /// Adds the files and directories to watch to `wanted`.
    mutating func resolve(into wanted: inout [FileIdentity: WatchTarget]) {
        concerns = [:]
        for file in files.values {
            let path = WatchedPath(resolving: file.location)
            for (identity, directory) in path.directories {
                concerns[identity, default: []].formUnion(directory.names)
                wanted[identity] = WatchTarget(path: directory.path, isDirectory: true)
            }
            if case .file(let path, let identity) = path.end {
                concerns[identity] = []
                wanted[identity] = WatchTarget(path: path, isDirectory: false)
            }
        }
    }

    /// Plans a look if the event concerns this one.
    mutating func hear(of identity: FileIdentity, name: String, isUnfinished: Bool, at now: ContinuousClock.Instant) {
        guard let names = concerns[identity], name.isEmpty || names.contains(name) else { return }
        quiet.touch(at: now, isUnfinished: isUnfinished)
    }

    /// Plans a look.
    mutating func touch(at now: ContinuousClock.Instant) {
        quiet.touch(at: now)
    }

    mutating func quietHasEnded(at now: ContinuousClock.Instant) -> Bool {
        quiet.hasEnded(at: now)
    }

    /// Compares by `stat` when the time for it has come.
    mutating func tick(at now: ContinuousClock.Instant) {
        guard now >= nextTick else { return }
        nextTick = now + tickInterval
        // A look that is planned anyway is not made earlier: a writer may not have finished.
        if quiet.deadline == nil, files.values.contains(where: { $0.needsLook() }) {
            quiet.touch(at: now)
        }
    }

    /// The files whose bytes have changed since the last look.
    mutating func look(limit: Int, at now: ContinuousClock.Instant) -> Set<String> {
        var changed: Set<String> = []
        for path in files.keys where files[path]?.look(limit: limit, at: now) == true {
            changed.insert(path)
        }
        return changed
    }
}

/// Orders from any thread to the loop's thread, which can wait for them with `poll(2)`.
final class Mailbox: Sendable {
    /// Readable while there are orders.
    let descriptor: Int32
    private let orders = Mutex<[WatchOrder]>([])

    init() throws(WatchError) {
        descriptor = cinotify_eventfd()
        guard descriptor >= 0 else { throw WatchError(doing: "make an eventfd", code: errno) }
    }

    deinit {
        close(descriptor)
    }

    func send(_ order: WatchOrder) {
        orders.withLock { $0.append(order) }
        var one: UInt64 = 1
        // It fails only when the counter is full, and the loop then wakes up anyway.
        _ = write(descriptor, &one, 8)
    }

    /// Everything sent so far, in order.
    func empty() -> [WatchOrder] {
        var count: UInt64 = 0
        // Read before taking the orders, so that an order in between wakes the loop once more.
        _ = read(descriptor, &count, 8)
        return orders.withLock { orders in
            defer { orders = [] }
            return orders
        }
    }
}

/// An order for the loop.
enum WatchOrder: Sendable {
    case subscribe(Int, Listener, WatchTiming)
    /// Watch only these files. Files that are already watched keep their state unless `replacing`.
    case watch(Int, [String: FileState], replacing: Bool)
    /// Opens the gate when no callback runs any more.
    case unsubscribe(Int, Gate)
    case quit

    /// The callbacks of a watcher.
    struct Listener: Sendable {
        let onNotice: @Sendable (WatchNotice) -> Void
        let onChange: @Sendable (Set<String>) -> Void
    }
}
