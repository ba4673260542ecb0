/// Expired pushed apps, the longest-expired first: at `max_apps` they make room.
struct ExpiredApps {
    private var queue: [(number: UInt64, record: AppRecord)] = []
    /// Those before it have left.
    private var first = 0
    private var lastNumber: UInt64 = 0
    /// How many there are; the queue may hold some that have been updated since.
    private(set) var count = 0

    mutating func append(_ record: AppRecord) {
        // Each that is updated and expires again would leave its old place behind.
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
