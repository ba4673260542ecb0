/// What the store's state lock guards: the apps as they are now, and which of them have changed since the last snapshot.
struct StoreState {
    var limits: StoreLimits {
        didSet {
            if limits.expireAfter != oldValue.expireAfter { requeuePushed() }
        }
    }
    /// The last snapshot, as long as nothing has changed.
    private var snapshot: Snapshot?

    private(set) var records: [AppName: AppRecord] = [:]
    private var targets: [TargetURL: RegisteredTarget] = [:]
    /// Bytes of all expositions in `records`.
    private var totalSize = 0
    /// Those of `records` that count towards `maxApps`.
    private(set) var appCount = 0
    /// The room that a push still needs whose apps are put in batches.
    private var reserved = Growth()
    /// Bytes of expositions that were replaced, removed, or moved into a chunk, since start.
    private(set) var freedBytes: UInt64 = 0
    private var changed = ChangedRecords()
    /// Counts the changes.
    private(set) var generation: UInt64 = 0
    /// Counts the changes of pushed apps, those that time makes included.
    private(set) var pushedGeneration: UInt64 = 0
    /// What happens to invalid metrics; with `off`, no record is put into `unchecked`.
    private(set) var validation = MetricsValidation.off
    /// Records with `isUnchecked`.
    private var unchecked: [AppRecord] = []
    private var lastTargetNumber = 0
    /// `expire_after` of each registered target that has one, by its number.
    private(set) var expireAfterByTarget: [Int: Duration] = [:]
    var expiries = ExpiryQueue()
    private var expired = ExpiredApps()

    private struct RegisteredTarget {
        let number: Int
        var name: AppName
        /// Why its last poll failed, also while a push holds its name; `nil` if it did not.
        var failure: String?
        /// Its metrics, while another target has taken its name in the middle of a reload.
        var displaced: StoredApp?
    }

    init(limits: StoreLimits) {
        self.limits = limits
    }

    func app(named name: AppName) -> StoredApp? { records[name]?.app }

    // MARK: Limits and replacement

    /// Why these apps cannot be put all together; names are unique. Replacing apps without growth is always allowed.
    func rejection(of apps: [StoredApp]) -> Rejection? {
        // Far from the limits, as nearly always, it is enough to take all of them for new ones.
        if appCount + reserved.apps + apps.count <= limits.maxApps,
            totalSize + reserved.bytes + apps.reduce(0, { $0 + $1.cost }) <= limits.maxTotalSize.bytes
        {
            return nil
        }
        return rejection(of: growth(by: apps[...]))
    }

    /// The growth of the store if these apps were put. Their names are unique.
    func growth(by apps: ArraySlice<StoredApp>) -> Growth {
        var growth = Growth()
        for app in apps {
            let record = records[app.name]
            growth.bytes += app.cost - (record?.app?.cost ?? 0)
            if record?.app?.counts != true { growth.apps += 1 }
            if record?.expiredPlace != nil { growth.revived += 1 }
        }
        return growth
    }

    /// Whether there is room for an app of an earlier run. None makes room for it: those that are there already are newer.
    func hasRoom(forRestored app: StoredApp) -> Bool {
        let growth = growth(by: [app])
        return appCount + growth.apps <= limits.maxApps && totalSize + growth.bytes <= limits.maxTotalSize.bytes
    }

    /// Why the store cannot grow by this. Replacing apps without growth is always allowed.
    func rejection(of growth: Growth) -> Rejection? {
        if growth.apps > 0, appCount + reserved.apps + growth.apps - (expired.count - growth.revived) > limits.maxApps {
            return .tooManyApps(limit: limits.maxApps)
        }
        if growth.bytes > 0, totalSize + reserved.bytes + growth.bytes > limits.maxTotalSize.bytes {
            return .storeFull(limit: limits.maxTotalSize)
        }
        return nil
    }

    /// Keeps room for a push whose apps are put in batches. Only one such push runs at a time.
    mutating func reserve(_ growth: Growth) {
        reserved = Growth(apps: max(0, growth.apps), bytes: max(0, growth.bytes))
    }

    /// Puts one batch of such a push, and exchanges each app for what was stored under its name, if anything was.
    mutating func putReserved(_ apps: inout [StoredApp], _ batch: Range<Int>) {
        let before = (count: appCount, size: totalSize)
        for index in batch {
            if let old = put(apps[index]) { apps[index] = old }
        }
        reserved.apps = max(0, reserved.apps - (appCount - before.count))
        reserved.bytes = max(0, reserved.bytes - (totalSize - before.size))
        makeRoom()
    }

    /// Ends the reservation after the last batch.
    mutating func endReservation() { reserved = Growth() }

    /// Exchanges each app for what was stored under its name, if anything was.
    mutating func put(_ apps: inout [StoredApp]) {
        for index in apps.indices {
            if let old = put(apps[index]) { apps[index] = old }
        }
        makeRoom()
    }

    /// Removes the longest-expired apps while there are more than `max_apps`.
    private mutating func makeRoom() {
        while appCount > limits.maxApps, let record = expired.popFirst() { remove(record.name) }
    }

    /// - Returns: what it replaced.
    @discardableResult
    mutating func put(_ app: StoredApp) -> StoredApp? {
        totalSize += app.cost
        if app.counts { appCount += 1 }
        if app.targetNumber == nil { pushedGeneration += 1 }
        guard let record = records[app.name] else {
            let record = AppRecord(name: app.name, app: app)
            records[app.name] = record
            noteChange(of: record)
            noteUnchecked(record)
            noteExpiry(of: record, app)
            return nil
        }
        let old = record.app
        if app.targetNumber != nil, let old, old.targetNumber == nil { pushedGeneration += 1 }
        if validation != .off, let old { keepCheck(of: old, for: app, record) }
        record.app = app
        uncount(old)
        noteChange(of: record)
        noteExpiry(of: record, app)
        return old
    }

    private mutating func noteExpiry(of record: AppRecord, _ app: StoredApp) {
        if app.isExpired, app.targetNumber == nil, let lastUpdate = app.entry.lastUpdate {
            expired.insert(record, lastUpdate: lastUpdate.instant)
        } else {
            expired.remove(record)
        }
        if let moment = expiry(of: app) { expiries.add(record, at: moment) }
    }

    @discardableResult
    private mutating func remove(_ name: AppName) -> StoredApp? {
        guard let record = records.removeValue(forKey: name) else { return nil }
        let old = record.app
        record.app = nil
        if let old, old.targetNumber == nil { pushedGeneration += 1 }
        expired.remove(record)
        expiries.remove(record)
        uncount(old)
        noteChange(of: record)
        changed.forgetUnlessTaken(record)
        return old
    }

    private mutating func uncount(_ app: StoredApp?) {
        guard let app else { return }
        totalSize -= app.cost
        freedBytes += UInt64(app.cost)
        if app.counts { appCount -= 1 }
    }

    private mutating func noteChange(of record: AppRecord) {
        generation += 1
        changed.insert(record)
    }

    // MARK: Targets

    mutating func register(_ target: Target) {
        if let known = targets[target.url] {
            expireAfterByTarget[known.number] = target.expireAfter
            rename(known, target)
            if let record = records[target.name], record.app?.targetNumber == known.number { requeue(record) }
            return
        }
        lastTargetNumber += 1
        expireAfterByTarget[lastTargetNumber] = target.expireAfter
        let new = RegisteredTarget(number: lastTargetNumber, name: target.name)
        targets[target.url] = new
        list(placeholder(for: new, at: target.url))
    }

    private mutating func rename(_ known: RegisteredTarget, _ target: Target) {
        var metrics = known.displaced
        if let held = app(named: known.name), held.targetNumber == known.number {
            guard known.name != target.name else { return }
            metrics = held
            remove(known.name)
        }
        let renamed = RegisteredTarget(number: known.number, name: target.name, failure: known.failure)
        targets[target.url] = renamed
        list(metrics?.with { $0.name = target.name } ?? placeholder(for: renamed, at: target.url))
    }

    /// The app of a target whose metrics are not there: it is failing, or has not answered yet.
    private func placeholder(for target: RegisteredTarget, at url: TargetURL) -> StoredApp {
        let app = StoredApp(AppEntry(name: target.name, polling: url, lastUpdate: nil), targetNumber: target.number)
        guard let reason = target.failure else { return app }
        return app.with { $0.state = .failing(reason: reason) }
    }

    /// Shows a target's app under its name, unless a push holds that. Another target that holds it is about to be renamed or unregistered.
    private mutating func list(_ app: StoredApp) {
        if let holder = self.app(named: app.name) {
            guard let other = holder.targetNumber else { return }
            if other != app.targetNumber, let url = targets.first(where: { $0.value.number == other })?.key {
                targets[url]?.displaced = holder
            }
        }
        put(app)
    }

    mutating func record(
        _ outcome: PollOutcome, for url: TargetURL, at moment: Moment, replaced: inout StoredApp?
    ) -> PollOutcome {
        guard let target = targets[url] else { return outcome }
        switch outcome {
        case .success(let exposition):
            let entry = AppEntry(name: target.name, polling: url, lastUpdate: moment)
            let app = StoredApp(entry, targetNumber: target.number).with { $0.exposition = exposition }
            if let rejection = rejection(of: [app]) {
                return record(.failure(reason: rejection.line), for: url, at: moment, replaced: &replaced)
            }
            targets[url]?.displaced = nil
            targets[url]?.failure = nil
            replaced = put(app)
            makeRoom()
        case .failure(let reason):
            targets[url]?.failure = reason
            guard let held = app(named: target.name) else {
                put(placeholder(for: targets[url] ?? target, at: url))
                return outcome
            }
            let state = held.isExpired ? AppEntry.State.expired(error: reason) : .failing(reason: reason)
            guard held.targetNumber == target.number, held.entry.state != state else { return outcome }
            replaced = put(held.with { $0.state = state })
        }
        return outcome
    }

    /// - Returns: what was removed.
    mutating func unregister(_ url: TargetURL) -> StoredApp? {
        guard let target = targets.removeValue(forKey: url) else { return nil }
        expireAfterByTarget[target.number] = nil
        guard let held = app(named: target.name), held.targetNumber == target.number else { return target.displaced }
        return remove(target.name)
    }

    /// Removes an app; the target that is polled under its name is listed as one that never answered, or as failing.
    /// - Returns: what was removed.
    mutating func remove(name: AppName) -> StoredApp? {
        guard let removed = remove(name) else { return nil }
        if let (url, target) = targets.first(where: { $0.value.name == name }) {
            targets[url]?.displaced = nil
            put(placeholder(for: target, at: url))
        }
        return removed
    }

    // MARK: Checks

    private mutating func noteUnchecked(_ record: AppRecord) {
        guard validation != .off, !record.isUnchecked else { return }
        record.isUnchecked = true
        unchecked.append(record)
    }

    /// New metrics keep the old result until they are checked. With `refuse`, an old `invalid` is not kept, because `Intake` has checked
    /// the new metrics.
    private mutating func keepCheck(of old: StoredApp, for app: StoredApp, _ record: AppRecord) {
        if old.entry.isWithheld || old.entry.check?.isValid == false { record.wasInvalid = true }
        if app.entry.check == nil, let check = old.entry.check, check.isValid || validation != .refuse { app.keep(check) }
        // All that are empty may share one exposition.
        let isSame = old.entry.exposition === app.entry.exposition && old.entry.lastUpdate == app.entry.lastUpdate
        if !isSame { noteUnchecked(record) }
    }

    /// What is checked from now on. With another mode everything is checked anew; with `refuse`, what is known to be invalid goes at once.
    /// - Returns: versions to be freed after the lock.
    mutating func setValidation(_ new: MetricsValidation) -> [StoredApp] {
        guard new != validation else { return [] }
        validation = new
        unchecked.removeAll()
        var freed: [StoredApp] = []
        for record in records.values {
            record.isUnchecked = false
            record.lastCheck = nil
            noteUnchecked(record)
            record.wasInvalid = false
            guard let app = record.app, let check = app.entry.check else { continue }
            // Metrics are not withheld for what was wrong with those before them.
            if new == .refuse, app.entry.isCheckOld { continue }
            // Why an app is withheld is not forgotten.
            let isDropped = new == .off && !app.entry.isWithheld
            if let old = setCheck(isDropped ? nil : check, of: record, for: app) { freed.append(old) }
        }
        return freed
    }

    /// The records that wait for a check; they still do.
    mutating func takeUnchecked() -> [AppRecord] {
        defer { unchecked.removeAll() }
        return unchecked
    }

    /// A check begins: a later change makes the record wait again.
    /// - Returns: `.app`: the version to check now. `.tooEarly`: the last check was after `earliest`; the record still waits. `.none`: there is
    ///   nothing to check any more; the record no longer waits.
    mutating func beginCheck(of record: AppRecord, at now: Instant, ifNotAfter earliest: Instant) -> CheckedVersion {
        guard record.isUnchecked, let app = record.app, app.entry.lastUpdate != nil, !app.isExpired, !app.entry.isWithheld else {
            record.isUnchecked = false
            return .none
        }
        if let last = record.lastCheck, last > earliest { return .tooEarly }
        record.isUnchecked = false
        record.lastCheck = now
        defer { record.wasInvalid = false }
        return .app(app, wasInvalid: record.wasInvalid || app.entry.check?.isValid == false)
    }

    /// Notes what a check of `checked` has found; with `refuse`, invalid metrics are taken out.
    /// - Returns: the version that is replaced, to be freed after the lock; `nil` when nothing changes.
    mutating func setCheck(_ check: AppCheck?, of record: AppRecord, for checked: StoredApp) -> StoredApp? {
        guard let app = record.app, !app.isExpired, !app.entry.isWithheld, validation != .off || check == nil else { return nil }
        // With `refuse`, `Intake` has checked newer metrics. A copy that was moved into a chunk has the same time, so it counts as the same
        // version.
        let isSame = app.entry.lastUpdate == checked.entry.lastUpdate
        let isWithheld = validation == .refuse && check?.isValid == false && isSame && app.size > 0
        guard app.entry.check != check || app.entry.isCheckOld == isSame || isWithheld else { return nil }
        let new = app.with { entry in
            entry.check = check
            entry.isCheckOld = !isSame
            guard isWithheld else { return }
            entry.exposition = .empty
            entry.group = nil
            entry.isWithheld = true
        }
        totalSize += new.cost
        if new.counts { appCount += 1 }
        if isWithheld, new.targetNumber == nil { pushedGeneration += 1 }
        record.app = new
        uncount(app)
        noteChange(of: record)
        return app
    }

    // MARK: Snapshots

    /// About how many bytes the next snapshot has to copy: a change costs its chunk, however small it is.
    var snapshotWork: Int { min(totalSize, changed.count * ChunkBuilder.maxWeight) }

    /// The last snapshot, if it is still right.
    func snapshot(at now: Moment) -> Snapshot? { isExpiryDue(at: now) ? nil : snapshot }

    /// The snapshot when it is no longer right, for the caller to free after the lock.
    mutating func takeSnapshot() -> Snapshot? {
        guard !changed.isEmpty else { return nil }
        defer { snapshot = nil }
        return snapshot
    }

    /// Every record that changed since the last call, as it is at this moment.
    mutating func takeChanges() -> (changes: [ChunkBuilder.Change], generation: UInt64) {
        (changed.take(), generation)
    }

    /// Exchanges the record's version for the same one at its new place, unless it has changed meanwhile.
    mutating func move(_ record: AppRecord, to app: inout StoredApp?) {
        guard !changed.contains(record), let moved = app, record.app !== moved else { return }
        freedBytes += UInt64(moved.size)
        app = record.app
        record.app = moved
    }

    /// Keeps the snapshot, unless something has changed since its generation.
    mutating func keep(_ snapshot: Snapshot, of generation: UInt64) {
        if generation == self.generation { self.snapshot = snapshot }
    }
}
