/// Which app expires next: a binary heap of moments at which a record has to be looked at.
///
/// An update costs nothing here: a record waits once, at a moment that is not after its expiry, and gets a later moment when it is looked at.
struct ExpiryQueue {
    private struct Waiting {
        let moment: Instant
        let record: AppRecord
    }

    /// A binary heap: no element is later than its two children.
    private var heap: [Waiting] = []

    /// Nothing expires before this moment; `nil` when nothing ever does.
    var next: Instant? { heap.first?.moment }

    /// Looks at the record at `moment`, unless it is to be looked at before that.
    mutating func add(_ record: AppRecord, at moment: Instant) {
        if let known = record.lookedAt, known <= moment { return }
        // An entry for a later moment is ignored from now on.
        record.lookedAt = moment
        heap.append(Waiting(moment: moment, record: record))
        var child = heap.count - 1
        while child > 0, heap[child].moment < heap[(child - 1) / 2].moment {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Removes the first entry whose moment has come. It may be out of date, so the caller checks the record.
    mutating func popFirst(upTo now: Instant) -> AppRecord? {
        guard let first = heap.first, first.moment <= now else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            siftDown()
        }
        if first.record.lookedAt == first.moment { first.record.lookedAt = nil }
        return first.record
    }

    private mutating func siftDown() {
        var parent = 0
        while 2 * parent + 1 < heap.count {
            var child = 2 * parent + 1
            if child + 1 < heap.count, heap[child + 1].moment < heap[child].moment { child += 1 }
            guard heap[child].moment < heap[parent].moment else { return }
            heap.swapAt(child, parent)
            parent = child
        }
    }
}

/// Expired pushed apps, the longest-expired first: at `max_apps` they make room.
struct ExpiredApps {
    private var queue: [(number: UInt64, record: AppRecord)] = []
    /// Entries before this index were removed.
    private var first = 0
    private var lastNumber: UInt64 = 0
    /// How many there are; the queue may hold some that have been updated since.
    private(set) var count = 0

    mutating func append(_ record: AppRecord) {
        // Compact the queue: every app that expires again leaves an old entry.
        if queue.count - first > 2 * count + 64 {
            queue = queue[first...].filter { $0.record.expiredNumber == $0.number }
            first = 0
        }
        lastNumber += 1
        record.expiredNumber = lastNumber
        queue.append((lastNumber, record))
        count += 1
    }

    mutating func remove(_ record: AppRecord) {
        guard record.expiredNumber != nil else { return }
        record.expiredNumber = nil
        count -= 1
    }

    mutating func popFirst() -> AppRecord? {
        while first < queue.count {
            let (number, record) = queue[first]
            first += 1
            if first > 1024, 2 * first > queue.count {
                queue.removeFirst(first)
                first = 0
            }
            guard record.expiredNumber == number else { continue }
            remove(record)
            return record
        }
        return nil
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

    /// Expires this app alone, if it is due. What is left of it in the queue is void.
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
        let expireAfter = app.target.map { expireAfterByTarget[$0] } ?? limits.expireAfter
        return expireAfter.map(lastUpdate.instant.advanced(by:))
    }

    /// Looks at every app of this kind anew, because its `expire_after` has changed.
    mutating func requeue(where isConcerned: (StoredApp) -> Bool) {
        for record in records.values {
            guard let app = record.app, isConcerned(app), let moment = expiry(of: app) else { continue }
            expiries.add(record, at: moment)
        }
    }
}
