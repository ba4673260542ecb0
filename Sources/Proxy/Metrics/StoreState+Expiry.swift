/// Expiry (SPEC §3): nothing is scheduled; whoever comes to the store at a later moment finds what is due.
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
            guard moment <= now.instant else {
                expiries.add(record, at: moment)
                continue
            }
            let error: String? = if case .failing(let reason) = app.entry.state { reason } else { nil }
            put(
                app.with {
                    $0.exposition = .empty
                    $0.state = .expired(error: error)
                })
            freed.append(app)
        }
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
