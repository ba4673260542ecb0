/// Which app expires next.
///
/// An update costs nothing here: a record waits for a moment that is not after its expiry, and gets a later moment when it is looked at.
struct ExpiryQueue {
    private var waiting = RecordHeap(\.expiryPlace)

    /// Nothing expires before this moment; `nil` when nothing ever does.
    var next: Instant? { waiting.first?.moment }

    /// Looks at the record at `moment`, unless it is to be looked at before that.
    mutating func add(_ record: AppRecord, at moment: Instant) {
        if let known = waiting.moment(of: record), known <= moment { return }
        waiting.set(record, to: moment)
    }

    mutating func remove(_ record: AppRecord) { waiting.remove(record) }

    /// Removes the first record whose moment has come. It may have been updated since, so the caller checks the record.
    mutating func popFirst(upTo now: Instant) -> AppRecord? {
        guard let first = waiting.first, first.moment <= now else { return nil }
        waiting.remove(first.record)
        return first.record
    }
}

/// Expired pushed apps, the longest-expired first: at `max_apps` they make room. They are in the order of their last updates. The order in which
/// they come here is another one: the store may notice an expiry late, and the state file begins with the newest app.
struct ExpiredApps {
    private var expired = RecordHeap(\.expiredPlace)

    var count: Int { expired.count }

    mutating func insert(_ record: AppRecord, lastUpdate: Instant) { expired.set(record, to: lastUpdate) }

    mutating func remove(_ record: AppRecord) { expired.remove(record) }

    mutating func popFirst() -> AppRecord? {
        guard let first = expired.first?.record else { return nil }
        expired.remove(first)
        return first
    }
}

/// Records in the order of a moment: a binary heap. Each record knows its place, so that it leaves the heap when it leaves the store.
private struct RecordHeap {
    typealias Place = ReferenceWritableKeyPath<AppRecord, Int?>

    /// No entry is later than its two children, at `2 * index + 1` and `2 * index + 2`.
    private var entries: [(moment: Instant, record: AppRecord)] = []
    /// Where a record keeps its index in `entries`; `nil` while it has none.
    private let place: Place

    init(_ place: Place) { self.place = place }

    var count: Int { entries.count }
    /// The entry with the earliest moment.
    var first: (moment: Instant, record: AppRecord)? { entries.first }

    /// The record's moment; `nil` when it is not here.
    func moment(of record: AppRecord) -> Instant? { record[keyPath: place].map { entries[$0].moment } }

    /// Adds the record, or changes its moment.
    mutating func set(_ record: AppRecord, to moment: Instant) {
        let index = record[keyPath: place] ?? entries.count
        if index == entries.count { entries.append((moment, record)) }
        move((moment, record), from: index)
    }

    /// Removes the record, if it is here.
    mutating func remove(_ record: AppRecord) {
        guard let index = record[keyPath: place] else { return }
        record[keyPath: place] = nil
        let last = entries.removeLast()
        if index < entries.count { move(last, from: index) }
    }

    /// Puts an entry into its place; what is at `start` now is overwritten.
    private mutating func move(_ entry: (moment: Instant, record: AppRecord), from start: Int) {
        var index = start
        while index > 0, entry.moment < entries[(index - 1) / 2].moment {
            put(entries[(index - 1) / 2], at: index)
            index = (index - 1) / 2
        }
        while 2 * index + 1 < entries.count {
            var child = 2 * index + 1
            if child + 1 < entries.count, entries[child + 1].moment < entries[child].moment { child += 1 }
            guard entries[child].moment < entry.moment else { break }
            put(entries[child], at: index)
            index = child
        }
        put(entry, at: index)
    }

    private mutating func put(_ entry: (moment: Instant, record: AppRecord), at index: Int) {
        entries[index] = entry
        entry.record[keyPath: place] = index
    }
}

/// Expiry. Nothing is scheduled: each later use of the store expires what is due by then.
extension StoreState {
    /// Whether some app may be due.
    func isExpiryDue(at now: Moment) -> Bool {
        guard let next = expiries.next else { return false }
        return next <= now.instant
    }

    /// Expires what is due, and hands over the versions whose bytes go, to be freed after the lock.
    /// - Parameter most: how many are looked at, so that the lock is not held for long.
    mutating func expire(at now: Moment, most: Int, into freed: inout [StoredApp]) {
        for _ in 0..<most {
            guard let record = expiries.popFirst(upTo: now.instant) else { return }
            guard let app = record.app, let moment = expiry(of: app) else { continue }
            if moment <= now.instant { expire(app, into: &freed) } else { expiries.add(record, at: moment) }
        }
    }

    /// Expires this app alone, if it is due. It stays in the queue until its moment there has come.
    mutating func expire(_ name: AppName, at now: Moment, into freed: inout [StoredApp]) {
        guard let app = app(named: name), let moment = expiry(of: app), moment <= now.instant else { return }
        expire(app, into: &freed)
    }

    private mutating func expire(_ app: StoredApp, into freed: inout [StoredApp]) {
        let error: String? = if case .failing(let reason) = app.entry.state { reason } else { nil }
        put(
            app.with {
                $0.exposition = .empty
                $0.group = nil
                $0.state = .expired(error: error)
            })
        freed.append(app)
    }

    /// When the app expires if nothing updates it; `nil` when it never does, or has done so.
    func expiry(of app: StoredApp) -> Instant? {
        guard let lastUpdate = app.entry.lastUpdate, !app.isExpired else { return nil }
        let expireAfter = app.targetNumber.map { expireAfterByTarget[$0] } ?? limits.expireAfter
        return expireAfter.map(lastUpdate.instant.advanced(by:))
    }

    /// Looks at every pushed app anew, because their `expire_after` has changed.
    mutating func requeuePushed() {
        for record in records.values where record.app?.targetNumber == nil { requeue(record) }
    }

    /// Looks at this app anew, because its `expire_after` has changed.
    mutating func requeue(_ record: AppRecord) {
        if let app = record.app, let moment = expiry(of: app) { expiries.add(record, at: moment) }
    }
}
