import HTTP
import Synchronization

/// The only mutable metrics. Every method may be called from any thread; the lock is short and never held across `await`.
public final class MetricStore: Sendable {
    /// What is stored now. Held for a lookup and an exchange of references, never while bytes are copied or freed.
    private let state: Mutex<StoreState>
    /// The chunks of the last snapshot. Held while the next one is made; taken before `state`, never after it.
    private let builder = Mutex(ChunkBuilder())
    /// Counts what answers keep of replaced chunks.
    private let answering: ByteBudget
    private let returnMemory: @Sendable () -> Void
    /// The most apps that expire under one hold of the lock. A poll or a quick snapshot expires at most so many, a push as many more as it has
    /// apps, and any other snapshot all that are due.
    private static let expiryBatch = 256
    /// The most apps of a push that is put under one hold of the lock. A message that is decoded on an event loop has fewer.
    private static let mostAtOnce = 4096
    /// The most apps of a larger push that are put under one hold of the lock, because event loops wait for it.
    private static let putBatch = 1024
    /// Bytes that `quickSnapshot` copies at most: about a millisecond.
    private static let quickWork = 4 << 20
    /// The fewest bytes that a snapshot copies before it returns memory.
    private static let leastReturnStep = 4 << 20
    /// How often one snapshot returns memory at most.
    private static let mostReturns = 8

    /// An empty store.
    /// - Parameters:
    ///   - answering: counts what answers keep in memory of metrics that were replaced meanwhile.
    ///   - returnMemory: returns freed memory to the system. Called while a large snapshot is made, which would otherwise take as much
    ///     memory again as the metrics: the freed bytes of apps belong to the heaps of other threads.
    public init(
        limits: StoreLimits = StoreLimits(), answering: ByteBudget = ByteBudget(), returnMemory: @escaping @Sendable () -> Void = {}
    ) {
        self.state = Mutex(StoreState(limits: limits))
        self.answering = answering
        self.returnMemory = returnMemory
    }

    /// Replaces the apps of one push, all together or none.
    /// - Parameters:
    ///   - sender: the peer that pushed them; kept with each app.
    /// - Throws: `.tooManyApps` or `.storeFull`; what was stored stays.
    public func apply(_ push: Push, from source: Source, sender: Sender? = nil, at moment: Moment) throws(Rejection) {
        guard !push.apps.isEmpty else { return }
        expire(at: moment, atMost: Self.expiryBatch + push.apps.count)
        var apps = push.apps.map { app in
            let entry = AppEntry(
                name: app.name, source: source, sender: sender, lastUpdate: moment, exposition: app.exposition, state: .ok)
            return StoredApp(entry, targetNumber: nil)
        }
        guard apps.count <= Self.mostAtOnce else { return try applyInBatches(&apps) }
        // What was replaced comes back in `apps`.
        let rejection = change { state -> (Rejection?, replaced: Void) in
            if let rejection = state.rejection(of: apps) { return (rejection, ()) }
            state.put(&apps)
            return (nil, ())
        }
        if let rejection { throw rejection }
        withExtendedLifetime(apps) {}
    }

    /// Puts many apps without holding the lock for long. No snapshot is made meanwhile, so each snapshot has all of them or none. Waits for
    /// a thread that is making a snapshot, so it must not run on an event loop.
    private func applyInBatches(_ apps: inout [StoredApp]) throws(Rejection) {
        let batches = stride(from: 0, to: apps.count, by: Self.putBatch).map { $0..<min($0 + Self.putBatch, apps.count) }
        let rejection: Rejection? = builder.withLock { _ in
            var growth = StoreState.Growth()
            for batch in batches { growth += state.withLock { $0.growth(by: apps[batch]) } }
            let rejection: Rejection? = state.withLock { state in
                if let rejection = state.rejection(of: growth) { return rejection }
                state.reserve(growth)
                return nil
            }
            if let rejection { return rejection }
            for batch in batches {
                change { state in
                    state.putReserved(&apps, batch)
                    return ((), replaced: ())
                }
            }
            state.withLock { $0.endReservation() }
            return nil
        }
        if let rejection { throw rejection }
    }

    /// Puts back a pushed app of an earlier run of the program, as it was then.
    /// - Returns: whether it fits; otherwise nothing has changed.
    func restore(_ app: AppEntry) -> Bool {
        var apps = [StoredApp(app, targetNumber: nil)]
        let fits = change { state in
            guard state.hasRoom(forRestored: apps[0]) else { return (false, replaced: ()) }
            state.put(&apps)
            return (true, replaced: ())
        }
        return withExtendedLifetime(apps) { fits }
    }

    /// Takes the end of one poll of a registered target: success replaces, failure only marks. A late outcome of a target no longer registered is dropped.
    /// - Returns: what was recorded; a success that would pass a limit is recorded as the failure returned.
    @discardableResult
    public func record(_ outcome: PollOutcome, for target: TargetURL, at moment: Moment) -> PollOutcome {
        expire(at: moment, atMost: Self.expiryBatch)
        return change { state in
            var replaced: StoredApp?
            let recorded = state.record(outcome, for: target, at: moment, replaced: &replaced)
            return (recorded, replaced: replaced)
        }
    }

    /// Forgets some targets and their metrics (unless a push has replaced them), and lists others, with nothing to be seen in between:
    /// names may move from one target to another.
    ///
    /// A target that is listed shows as `never` until it answers (unless a push holds its name). One that is known already by its URL
    /// takes its metrics along to its new name.
    public func change(unregistering gone: [TargetURL], registering targets: [Target]) {
        change { state in
            let removed = gone.map { state.unregister($0) }
            for target in targets { state.register(target) }
            return ((), replaced: removed)
        }
    }

    /// The group of the Pushgateway's API that has this name; `nil` for any other app, and for one that has expired by now.
    func group(named name: AppName, at now: Moment) -> StoredApp? {
        change { state -> (StoredApp?, replaced: [StoredApp]) in
            var expired: [StoredApp] = []
            state.expire(name, at: now, into: &expired)
            guard let app = state.app(named: name), app.entry.group != nil, app.entry.isFresh else { return (nil, expired) }
            return (app, expired)
        }
    }

    /// Replaces a group of the Pushgateway's API.
    /// - Parameter earlier: the version that a push was merged with; `nil` when the group is new.
    /// - Returns: `false`, with nothing changed, when `earlier` is no longer stored: it was deleted, or the app was pushed in another way.
    /// - Throws: `.tooManyApps` or `.storeFull`; what was stored stays.
    func replace(_ earlier: StoredApp?, with group: AppEntry, at moment: Moment) throws(Rejection) -> Bool {
        expire(at: moment, atMost: Self.expiryBatch + 1)
        var apps = [StoredApp(group, targetNumber: nil)]
        let result = change { state -> (Result<Bool, Rejection>, replaced: Void) in
            if let earlier, state.current(earlier) == nil { return (.success(false), ()) }
            if let rejection = state.rejection(of: apps) { return (.failure(rejection), ()) }
            state.put(&apps)
            return (.success(true), ())
        }
        return try withExtendedLifetime(apps) { result }.get()
    }

    /// Exchanges the metrics of a group for others that differ in a few bytes, unless it has been replaced. Its time of update stays.
    func amend(_ app: StoredApp, with exposition: Exposition, group: PushedGroup) {
        change { ((), replaced: $0.amend(app, with: exposition, group: group)) }
    }

    /// Forgets an app and its metrics, pushed or polled. A target of this name stays listed, and has metrics again when it next answers.
    /// - Parameter pushed: whether only a pushed app is forgotten.
    /// - Returns: whether there was such an app.
    public func remove(_ name: AppName, onlyIfPushed pushed: Bool = false) -> Bool {
        change { state -> (Bool, replaced: StoredApp?) in
            if pushed, state.app(named: name)?.targetNumber != nil { return (false, nil) }
            let removed = state.remove(name: name)
            return (removed != nil, removed)
        }
    }

    /// Applies new limits to what comes from now on; a new `expire_after` to what is stored, too (what has expired stays so until its next update).
    public func setLimits(_ limits: StoreLimits) {
        state.withLock { $0.limits = limits }
    }

    // MARK: Checks

    /// What is checked, and what happens to invalid metrics. With another value than before, everything is checked anew; with `refuse`,
    /// apps that are known to be invalid leave the snapshots.
    public func setValidation(_ validation: MetricsValidation) {
        change { ((), replaced: $0.setValidation(validation)) }
    }

    /// The records that changed since the last call and wait for a check.
    func takeUnchecked() -> [AppRecord] { state.withLock { $0.takeUnchecked() } }

    /// Takes out the records of apps that are no longer stored.
    func dropRemoved(from waiting: inout [AppRecord?]) {
        waiting = state.withLock { _ in waiting.filter { $0?.app != nil } }
    }

    /// As `StoreState` says.
    func beginCheck(of record: AppRecord, at now: Instant, ifNotAfter earliest: Instant) -> StoreState.CheckedVersion {
        state.withLock { $0.beginCheck(of: record, at: now, ifNotAfter: earliest) }
    }

    /// Notes what a check of this version has found.
    func setCheck(_ check: AppCheck, of record: AppRecord, for app: StoredApp) {
        change { ((), replaced: $0.setCheck(check, of: record, for: app)) }
    }

    /// The names of all apps, in no order.
    func names() -> [AppName] { state.withLock { Array($0.records.keys) } }

    /// How many apps are listed.
    public var count: Int { state.withLock { $0.records.count } }

    /// Grows with every change.
    var generation: UInt64 { state.withLock { $0.generation } }

    /// Grows with every change of a pushed app.
    public var pushedGeneration: UInt64 { state.withLock { $0.pushedGeneration } }

    /// Bytes of metrics that were freed since start, or will be when the last reader has let go of them.
    public var freedBytes: UInt64 { state.withLock { $0.freedBytes } }

    /// How many apps there can be at most: those that are stored stay when `max_apps` is lowered.
    public var mostApps: Int { state.withLock { max($0.limits.maxApps, $0.appCount) } }

    /// The limits in force.
    public var limits: StoreLimits { state.withLock { $0.limits } }

    /// The app of this name as it was last stored, without a look at what has expired since.
    public func app(named name: AppName) -> AppEntry? {
        state.withLock { $0.app(named: name)?.entry }
    }

    /// Those of these apps that are known, in the order of the names, all as they are at `now`; without making a snapshot.
    public func apps(named names: [AppName], at now: Moment) -> [AppEntry] {
        change { state in
            var expired: [StoredApp] = []
            for name in names { state.expire(name, at: now, into: &expired) }
            return (names.compactMap { state.app(named: $0)?.entry }, replaced: expired)
        }
    }

    /// All apps as they are at `now`; made at most once per change and shared. Pushes go on while it is made. Takes as long as it takes
    /// to copy the chunks with a change, and waits for another thread that makes one: never call it on an event loop.
    public func snapshot(at now: Moment) -> Snapshot {
        if let ready = state.withLock({ $0.snapshot(at: now) }) { return ready }
        return builder.withLock { makeSnapshot(at: now, &$0) }
    }

    /// The same, if it is ready or quickly made; `nil` when it takes more than a few milliseconds, or another thread is making one.
    public func quickSnapshot(at now: Moment) -> Snapshot? {
        if let ready = state.withLock({ $0.snapshot(at: now) }) { return ready }
        expire(at: now, atMost: Self.expiryBatch)
        return builder.withLockIfAvailable { builder in
            guard state.withLock({ !$0.isExpiryDue(at: now) && $0.snapshotWork <= Self.quickWork }) else { return nil }
            return makeSnapshot(at: now, &builder)
        } ?? nil
    }

    private func makeSnapshot(at now: Moment, _ builder: inout ChunkBuilder) -> Snapshot {
        // Another thread may have made it while this one waited.
        if let ready = state.withLock({ $0.snapshot(at: now) }) { return ready }
        expire(at: now, atMost: .max)
        let work = state.withLock(\.snapshotWork)
        let (changes, generation) = state.withLock { $0.takeChanges() }
        let returnStep = max(Self.leastReturnStep, work / Self.mostReturns)
        var copied = 0
        // The changes hold the bytes that are replaced, so nothing else may keep them.
        let replaced = builder.update(consume changes) { node in
            // The slots now refer to the chunk's bytes; what they referred to before is freed after the lock.
            var apps = node.slots.map(\.app)
            state.withLock { state in
                for (index, slot) in node.slots.enumerated() { state.move(slot.record, to: &apps[index]) }
            }
            for (slot, app) in zip(node.slots, apps) where slot.app !== app { copied += slot.app?.size ?? 0 }
            apps = []
            // An event loop may make a quick snapshot, and returning memory takes too long for it.
            guard copied >= returnStep, work > Self.quickWork else { return }
            copied = 0
            returnMemory()
        }
        for leases in replaced {
            answering.add(leases.plain.retire())
            answering.add(leases.compressed.retire())
        }
        let snapshot = Snapshot(chunks: builder.nodes.map(\.chunk), generation: generation)
        state.withLock { $0.keep(snapshot, of: generation) }
        return snapshot
    }

    /// Changes the state. What the change replaces is freed after the lock, and so is a snapshot that is no longer right.
    private func change<Result: Sendable, Replaced: Sendable>(_ body: (inout StoreState) -> (Result, replaced: Replaced)) -> Result {
        let (result, replaced, stale) = state.withLock { state in
            let (result, replaced) = body(&state)
            return (result, replaced, state.takeSnapshot())
        }
        return withExtendedLifetime((replaced, stale)) { result }
    }

    /// Expires what is due; ordinarily nothing is, and this is one look at the queue.
    /// - Parameter most: apps that are looked at; the others expire later.
    private func expire(at now: Moment, atMost most: Int) {
        var left = most
        while left > 0 {
            let isDue = change { state -> (Bool, replaced: [StoredApp]) in
                guard state.isExpiryDue(at: now) else { return (false, []) }
                var expired: [StoredApp] = []
                state.expire(at: now, most: min(left, Self.expiryBatch), into: &expired)
                return (state.isExpiryDue(at: now), expired)
            }
            guard isDue else { return }
            left -= Self.expiryBatch
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
    public init(
        maxApps: Int = ReceiverConfig().maxApps, maxTotalSize: ByteCount = ReceiverConfig().maxTotalSize, expireAfter: Duration? = nil
    ) {
        self.maxApps = maxApps
        self.maxTotalSize = maxTotalSize
        self.expireAfter = expireAfter
    }
}

/// Groups of the Pushgateway's API.
extension StoreState {
    /// What is stored of a group now, if nothing but its place in memory has changed since this version.
    func current(_ group: StoredApp) -> StoredApp? {
        guard let current = app(named: group.name), current.entry.group === group.entry.group,
            current.entry.lastUpdate == group.entry.lastUpdate
        else { return nil }
        return current
    }

    /// Exchanges the metrics of an app for others that differ in a few bytes, as long as it is still this version. The few bytes may pass any
    /// limit. Its time of update stays.
    mutating func amend(_ app: StoredApp, with exposition: Exposition, group: PushedGroup) -> StoredApp? {
        guard let current = current(app) else { return nil }
        return put(
            current.with {
                $0.exposition = exposition
                $0.group = group
            })
    }
}

extension StoreState {
    /// The growth of the store by some apps.
    struct Growth {
        /// Apps that count towards `max_apps` and did not before.
        var apps = 0
        /// Bytes of metrics, less those that are replaced.
        var bytes = 0
        /// Apps that have expired. They were counted among the apps that make room for others.
        var revived = 0

        static func += (a: inout Growth, b: Growth) {
            a.apps += b.apps
            a.bytes += b.bytes
            a.revived += b.revived
        }
    }

    enum CheckedVersion {
        /// - Parameter wasInvalid: whether the metrics before these were.
        case app(StoredApp, wasInvalid: Bool)
        case tooEarly
        case none
    }
}
