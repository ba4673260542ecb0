/// What the loop knows about one `FileWatcher`.
struct Subscription {
    let listener: WatchOrder.Listener
    private(set) var files: [String: FileState] = [:]
    private var quiet: QuietPeriod
    private let tickInterval: Duration
    private var nextTick: ContinuousClock.Instant
    /// What an event must be about to concern this one: a directory with names in it, or a file (no names).
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

    /// When there is something to do at the latest; nil when there is nothing to watch.
    var nextMoment: ContinuousClock.Instant? {
        guard !files.isEmpty else { return nil }
        return quiet.deadline.map { min($0, nextTick) } ?? nextTick
    }

    /// Finds out what there is to watch, and adds it to `wanted`.
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

    /// Looks later if the event concerns this one.
    mutating func hear(of identity: FileIdentity, name: String, isUnfinished: Bool, at now: ContinuousClock.Instant) {
        guard let names = concerns[identity], name.isEmpty || names.contains(name) else { return }
        quiet.touch(at: now, isUnfinished: isUnfinished)
    }

    /// Looks later, whatever happened.
    mutating func touch(at now: ContinuousClock.Instant) {
        quiet.touch(at: now)
    }

    mutating func quietHasEnded(at now: ContinuousClock.Instant) -> Bool {
        quiet.hasEnded(at: now)
    }

    /// The regular glance with `stat`, when its time has come.
    mutating func tick(at now: ContinuousClock.Instant) {
        guard now >= nextTick else { return }
        nextTick = now + tickInterval
        // A look that is due anyway is not brought forward: somebody may be writing.
        if quiet.deadline == nil, files.values.contains(where: { $0.needsLook() }) {
            quiet.touch(at: now)
        }
    }

    /// The files whose bytes are others than at the last look.
    mutating func look(limit: Int, at now: ContinuousClock.Instant) -> Set<String> {
        var changed: Set<String> = []
        for path in files.keys where files[path]?.look(limit: limit, at: now) == true {
            changed.insert(path)
        }
        return changed
    }
}
