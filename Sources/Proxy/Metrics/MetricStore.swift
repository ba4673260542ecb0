import Synchronization

/// The only mutable metrics. Every method may be called from any thread; the lock is short and never held across `await`.
public final class MetricStore: Sendable {
    /// What is stored now. Held for a lookup and an exchange of references, never while bytes are copied or freed.
    private let state: Mutex<StoreState>
    /// The chunks of the last snapshot. Held while the next one is made; taken before `state`, never after it.
    private let builder = Mutex(ChunkBuilder())
    /// What the snapshots share of their self-metrics.
    private let lineGroups = LineGroups()
    /// Apps that expire under one hold of the lock.
    private static let expiryBatch = 1024

    /// An empty store.
    public init(limits: StoreLimits = StoreLimits()) {
        self.state = Mutex(StoreState(limits: limits))
    }

    /// Replaces the apps of one push, all together or none.
    /// - Parameter sender: the peer that pushed them; kept with each app.
    /// - Throws: `.tooManyApps` or `.storeFull`; what was stored stays.
    public func apply(_ push: Push, from source: Source, sender: Sender? = nil, at moment: Moment) throws(Rejection) {
        guard !push.apps.isEmpty else { return }
        expire(at: moment)
        var apps = push.apps.map { app in
            StoredApp(
                AppEntry(
                    name: app.name, source: source, sender: sender, lastUpdate: moment, exposition: app.exposition, state: .ok),
                target: nil)
        }
        // What was replaced comes back in `apps`, and is freed after the lock; so is the snapshot that is no longer right.
        var stale: Snapshot?
        let rejection: Rejection? = state.withLock { state in
            if let rejection = state.rejection(of: apps) { return rejection }
            state.put(&apps)
            stale = state.takeSnapshot()
            return nil
        }
        if let rejection { throw rejection }
        withExtendedLifetime((apps, stale)) {}
    }

    /// Lists a target that is polled from now on, as `never` until it answers (unless a push holds its name).
    /// Known already, by its URL, under another name: it takes its metrics along, unless a push holds the new name.
    public func register(_ target: Target) {
        let stale = state.withLock { state in
            state.register(target)
            return state.takeSnapshot()
        }
        withExtendedLifetime(stale) {}
    }

    /// Takes the end of one poll of a registered target: success replaces, failure only marks. A late outcome of a target no longer registered is dropped.
    /// - Returns: what was recorded; a success that would pass a limit is recorded as the failure returned.
    @discardableResult
    public func record(_ outcome: PollOutcome, for target: TargetURL, at moment: Moment) -> PollOutcome {
        expire(at: moment)
        var replaced: StoredApp?
        var stale: Snapshot?
        let recorded = state.withLock { state in
            let recorded = state.record(outcome, for: target, at: moment, replaced: &replaced)
            stale = state.takeSnapshot()
            return recorded
        }
        withExtendedLifetime((replaced, stale)) {}
        return recorded
    }

    /// Forgets a target and its metrics (unless a push has replaced them).
    public func unregister(_ target: TargetURL) {
        var removed: StoredApp?
        let stale = state.withLock { state in
            removed = state.unregister(target)
            return state.takeSnapshot()
        }
        withExtendedLifetime((removed, stale)) {}
    }

    /// Forgets some targets and lists others, as `unregister` and `register` do, with nothing to be seen in between: names may move
    /// from one target to another.
    public func change(unregistering gone: [TargetURL], registering targets: [Target]) {
        var removed: [StoredApp?] = []
        let stale = state.withLock { state in
            removed = gone.map { state.unregister($0) }
            for target in targets { state.register(target) }
            return state.takeSnapshot()
        }
        withExtendedLifetime((removed, stale)) {}
    }

    /// Forgets an app and its metrics, whoever sent them. A target of this name stays listed, and has metrics again when it next answers.
    /// - Returns: whether there was such an app.
    public func remove(_ name: AppName) -> Bool {
        let (removed, stale) = state.withLock { state in (state.forget(name), state.takeSnapshot()) }
        return withExtendedLifetime((removed, stale)) { removed != nil }
    }

    /// Applies new limits to what comes from now on; a new `expire_after` to what is stored, too (what has expired stays so until its next update).
    public func setLimits(_ limits: StoreLimits) {
        state.withLock { $0.limits = limits }
    }

    /// Bytes of metrics that were freed since the begin, or will be when the last reader has let go of them.
    public var freedBytes: UInt64 { state.withLock { $0.freedBytes } }

    /// How many apps there can be at most: those that are stored stay when `max_apps` is lowered.
    public var mostApps: Int { state.withLock { max($0.limits.maxApps, $0.appCount) } }

    /// The limits in force.
    public var limits: StoreLimits { state.withLock { $0.limits } }

    /// The app of this name as it was last stored, without making a snapshot, and so without looking at what has expired since.
    public func app(named name: AppName) -> AppEntry? {
        state.withLock { $0.app(named: name)?.entry }
    }

    /// Those of these apps that are known, in the order of the names, all as they are at `now`; without making a snapshot.
    public func apps(named names: [AppName], at now: Moment) -> [AppEntry] {
        expire(at: now)
        return state.withLock { state in names.compactMap { state.app(named: $0)?.entry } }
    }

    /// About how many bytes the next call of `snapshot` has to copy; 0 when it is ready. A caller on an event loop moves more than a few
    /// megabytes elsewhere.
    public var snapshotWork: Int { state.withLock { $0.snapshotWork } }

    /// All apps as they are at `now`; made at most once per change and shared. Pushes go on while it is made.
    public func snapshot(at now: Moment) -> Snapshot {
        if let ready = state.withLock({ $0.snapshot(at: now) }) { return ready }
        return builder.withLock { builder in
            // Another thread may have made it while this one waited.
            if let ready = state.withLock({ $0.snapshot(at: now) }) { return ready }
            expire(at: now)
            let (changes, generation) = state.withLock { $0.takeChanges() }
            builder.update(changes) { node in
                // The slots now refer to the chunk's bytes; what they referred to before is freed after the lock.
                var apps = node.slots.map(\.app)
                state.withLock { state in
                    for (index, slot) in node.slots.enumerated() { state.move(slot.record, to: &apps[index]) }
                }
            }
            let snapshot = Snapshot(chunks: builder.nodes.map(\.chunk), lineGroups: lineGroups)
            state.withLock { $0.keep(snapshot, of: generation) }
            return snapshot
        }
    }

    /// Expires what is due; ordinarily nothing is, and this is one look at the queue.
    private func expire(at now: Moment) {
        var isDue = true
        while isDue {
            var freed: [StoredApp] = []
            var stale: Snapshot?
            isDue = state.withLock { state in
                guard state.isExpiryDue(at: now) else { return false }
                state.expire(at: now, most: Self.expiryBatch, into: &freed)
                stale = state.takeSnapshot()
                return state.isExpiryDue(at: now)
            }
            withExtendedLifetime((freed, stale)) {}
        }
    }
}

/// What the store may hold.
public struct StoreLimits: Equatable, Sendable {
    /// Apps, pushed and polled together.
    public var maxApps: Int
    /// Bytes of all expositions.
    public var maxTotalSize: ByteCount
    /// A pushed app not updated for this long expires; `nil` means never. That of a polled app is its target's.
    public var expireAfter: Duration?

    /// Limits; the defaults are those of the configuration.
    public init(maxApps: Int = 100_000, maxTotalSize: ByteCount = .gibibytes(1), expireAfter: Duration? = nil) {
        self.maxApps = maxApps
        self.maxTotalSize = maxTotalSize
        self.expireAfter = expireAfter
    }
}
