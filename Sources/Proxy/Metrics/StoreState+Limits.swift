/// The limits `max_apps` and `max_total_size`, and pushes that are put in batches.
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
            if record?.expiredNumber != nil { growth.revived += 1 }
        }
        return growth
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
    mutating func makeRoom() {
        while appCount > limits.maxApps, let record = expired.popFirst() { remove(record.name) }
    }
}
