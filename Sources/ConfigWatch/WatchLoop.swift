import Glibc
import Synchronization

/// Runs on the watching thread: waits for events, orders and the next moment to look. Owns inotify and the state of all files.
final class WatchLoop {
    private let mailbox: Mailbox
    private let sizeLimit: Int
    private let retryInterval: Duration
    private let makeSource: ChangeSourceFactory
    private let counters: WatchCounters
    private let clock = ContinuousClock()

    private var source: (any ChangeSource)?
    /// Why there is no source, and the time of the next attempt.
    private var outage: (notice: WatchNotice, retryAt: ContinuousClock.Instant)?
    private var subscriptions: [Int: Subscription] = [:]
    private var eventsPausedUntil: ContinuousClock.Instant?
    /// Paths that the kernel refuses to watch. Each is reported once, not at every look.
    private var refused: [String: Int32] = [:]

    /// The pause after events were read, so that a busy directory costs little. The kernel queues further events.
    private static let eventPause = Duration.milliseconds(20)

    /// - Parameter retryInterval: how often inotify is asked for again after it was refused.
    init(
        mailbox: Mailbox, sizeLimit: Int, retryInterval: Duration, counters: WatchCounters, makeSource: @escaping ChangeSourceFactory
    ) {
        self.mailbox = mailbox
        self.sizeLimit = sizeLimit
        self.counters = counters
        self.makeSource = makeSource
        self.retryInterval = retryInterval
    }

    /// Runs until the order to quit. Opens `ready` when inotify has its descriptor.
    func run(ready: Gate) {
        openSource()
        ready.open()
        while step() {}
        source?.close()
    }

    private func step() -> Bool {
        let hasEvents = wait()
        counters.update { $0.wakeUps += 1 }
        guard carryOut(mailbox.empty()) else { return false }
        let now = clock.now
        if hasEvents {
            drain(at: now)
        }
        if let outage, now >= outage.retryAt {
            openSource()
        }
        for id in subscriptions.keys { subscriptions[id]?.tick(at: now) }
        // Last, so that an order that a callback sends (to stop, say) is carried out before another callback.
        look(at: now)
        return true
    }

    /// Sleeps until there is work. Returns whether there are events to read.
    private func wait() -> Bool {
        let now = clock.now
        if let until = eventsPausedUntil, until <= now { eventsPausedUntil = nil }
        var moments = subscriptions.values.compactMap(\.nextMoment)
        if let eventsPausedUntil { moments.append(eventsPausedUntil) }
        if let outage, !subscriptions.isEmpty { moments.append(outage.retryAt) }
        let timeout = moments.min().map { Self.milliseconds(from: now, until: $0) } ?? -1

        let inotify = eventsPausedUntil == nil ? source?.descriptor ?? -1 : -1
        var descriptors = [
            pollfd(fd: mailbox.descriptor, events: Int16(POLLIN), revents: 0),
            // poll(2) skips negative descriptors.
            pollfd(fd: inotify, events: Int16(POLLIN), revents: 0),
        ]
        if poll(&descriptors, nfds_t(descriptors.count), timeout) < 0 && errno != EINTR {
            // Out of memory: wait, so that this does not become a busy loop.
            usleep(100_000)
        }
        return descriptors[1].revents != 0
    }

    private static func milliseconds(from now: ContinuousClock.Instant, until moment: ContinuousClock.Instant) -> Int32 {
        let left = now.duration(to: moment).components
        guard left.seconds >= 0, left.attoseconds >= 0 else { return 0 }
        // Rounded up, otherwise the last millisecond would be a busy loop.
        return Int32(clamping: left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000 + 1)
    }

    /// Carries out orders. Returns false for the order to quit.
    private func carryOut(_ orders: [WatchOrder]) -> Bool {
        var watchesChanged = false
        var gone: [Gate] = []
        for order in orders {
            switch order {
            case .subscribe(let id, let listener, let timing):
                subscriptions[id] = Subscription(listener: listener, timing: timing, at: clock.now)
                if let outage { listener.onNotice(outage.notice) }
            case .watch(let id, let files):
                subscriptions[id]?.files = files
                // A look finds changes from before the watches existed.
                subscriptions[id]?.touch(at: clock.now)
                watchesChanged = true
            case .unsubscribe(let id, let gate):
                subscriptions[id] = nil
                watchesChanged = true
                gone.append(gate)
            case .quit:
                // Sent after the last watcher has unsubscribed: no gate is left to open.
                return false
            }
        }
        if watchesChanged { arm() }
        // The subscriptions have no watches any more.
        for gate in gone { gate.open() }
        return true
    }

    private func drain(at now: ContinuousClock.Instant) {
        eventsPausedUntil = now + Self.eventPause
        source?.drain { handle($0, at: now) }
    }

    private func handle(_ change: Change, at now: ContinuousClock.Instant) {
        for id in subscriptions.keys {
            switch change {
            case .touched(let identity, let name, let writing):
                subscriptions[id]?.handle(eventOf: identity, name: name, writing, at: now)
            case .overflow: subscriptions[id]?.touch(at: now)
            }
        }
    }

    private func look(at now: ContinuousClock.Instant) {
        let due = subscriptions.keys.filter { subscriptions[$0]?.quietHasEnded(at: now) == true }
        guard !due.isEmpty else { return }
        // Arm first, so that changes after the look are noticed.
        arm()
        let changes = due.map { ($0, subscriptions[$0]?.look(limit: sizeLimit, at: now) ?? []) }
        counters.update { $0.looks += due.count }
        for (id, changed) in changes where !changed.isEmpty {
            subscriptions[id]?.listener.onChange(changed)
        }
    }

    /// Sets the watches to where the paths lead now.
    private func arm() {
        // A path may change while it is resolved. Events report swaps that are faster than five attempts.
        for _ in 0..<5 {
            var wanted: [FileIdentity: WatchTarget] = [:]
            for id in subscriptions.keys { subscriptions[id]?.resolve(into: &wanted) }
            guard let source else { break }
            do {
                let arming = try source.arm(wanted)
                if arming.restarted {
                    counters.update { $0.restarts += 1 }
                    touchAll()
                }
                for change in arming.changes { handle(change, at: clock.now) }
                report(refused: arming.refused)
                guard arming.needsAnotherLook else { break }
            } catch {
                self.source = nil
                becomeUnavailable(error)
            }
        }
        counters.update { $0.watches = source?.watchCount ?? 0 }
    }

    private func openSource() {
        do throws(InotifyError) {
            source = try makeSource()
            guard outage != nil else { return }
            outage = nil
            notify(.inotifyAvailable)
            touchAll()
        } catch {
            becomeUnavailable(error)
        }
    }

    private func becomeUnavailable(_ error: InotifyError) {
        let notice = WatchNotice.inotifyUnavailable(reason: error.description)
        let isNews = outage?.notice != notice
        outage = (notice, clock.now + retryInterval)
        refused = [:]
        if isNews { notify(notice) }
        touchAll()
    }

    private func report(refused now: [String: Int32]) {
        for (path, code) in now where refused[path] != code {
            let reason = code == ENOSPC ? "fs.inotify.max_user_watches is reached" : System.text(ofError: code)
            notify(.notWatched(path: path, reason: reason))
        }
        refused = now
    }

    private func notify(_ notice: WatchNotice) {
        for subscription in subscriptions.values { subscription.listener.onNotice(notice) }
    }

    private func touchAll() {
        let now = clock.now
        for id in subscriptions.keys { subscriptions[id]?.touch(at: now) }
    }
}

/// The loop's state of one `FileWatcher`.
struct Subscription {
    let listener: WatchOrder.Listener
    var files: [String: FileState] = [:]
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
    mutating func handle(eventOf identity: FileIdentity, name: String, _ writing: Change.Writing, at now: ContinuousClock.Instant) {
        guard let names = concerns[identity], name.isEmpty || names.contains(name) else { return }
        quiet.touch(at: now, QuietPeriod.Entry(identity: identity, name: name), writing)
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

/// Opens inotify; called on the loop's thread.
typealias ChangeSourceFactory = @Sendable () throws(InotifyError) -> any ChangeSource

/// Waits until the edits of one save have ended: no edit for a while and all files closed, or a fixed time after the first one.
struct QuietPeriod: Sendable {
    /// What an event is about: a file or directory (empty name), or a name in a directory.
    struct Entry: Hashable {
        let identity: FileIdentity
        let name: String
    }

    private let quiet: Duration
    private let limit: Duration
    private var first: ContinuousClock.Instant?
    private var last: ContinuousClock.Instant?
    /// What a writer has not closed yet. A file that two watches see may be in it twice: each of them also sees the end.
    private var unfinished: Set<Entry> = []

    /// How many entries are kept. Those beyond it do not prolong the wait, but then these many do.
    static let maximumUnfinished = 1024

    init(quiet: Duration, limit: Duration) {
        self.quiet = quiet
        self.limit = limit
    }

    /// Records that something happened.
    mutating func touch(at now: ContinuousClock.Instant) {
        first = first ?? now
        last = now
    }

    /// Records an event of a file. It changes nothing about other files that are not closed yet.
    mutating func touch(at now: ContinuousClock.Instant, _ entry: Entry, _ writing: Change.Writing) {
        touch(at: now)
        switch writing {
        case .unfinished: if unfinished.count < Self.maximumUnfinished { unfinished.insert(entry) }
        case .finished: unfinished.remove(entry)
        case .unknown: break
        }
    }

    /// The time of the look; `nil` when nothing happened.
    var deadline: ContinuousClock.Instant? {
        guard let first, let last else { return nil }
        return unfinished.isEmpty ? min(last + quiet, first + limit) : first + limit
    }

    /// Whether it is time to look; if so, starts over.
    mutating func hasEnded(at now: ContinuousClock.Instant) -> Bool {
        guard let deadline, now >= deadline else { return false }
        first = nil
        last = nil
        // A file that is never closed must not prolong later waits.
        unfinished = []
        return true
    }
}

/// What the loop has done, for tests: they show that an idle loop costs nothing and that nothing accumulates.
final class WatchCounters: Sendable {
    struct Counts: Sendable {
        /// How often the thread woke up.
        var wakeUps = 0
        /// How often the files of one watcher were looked at.
        var looks = 0
        /// How often inotify was started over, which frees what the library cannot free otherwise.
        var restarts = 0
        /// How many watches the kernel has for this process.
        var watches = 0
    }

    private let counts = Mutex(Counts())

    var current: Counts { counts.withLock { $0 } }

    func update(_ change: (inout Counts) -> Void) { counts.withLock { change(&$0) } }
}
