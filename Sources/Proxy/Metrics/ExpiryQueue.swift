/// Which app expires next: a binary heap of moments at which a record has to be looked at.
///
/// An update costs nothing here: a record waits once, at a moment not after its expiry, and gets a later one when it is looked at.
struct ExpiryQueue {
    private struct Waiting {
        let moment: Instant
        let record: AppRecord
    }

    /// Each is not after the two at twice its place.
    private var heap: [Waiting] = []

    /// Nothing expires before this moment; `nil` when nothing ever does.
    var next: Instant? { heap.first?.moment }

    /// Looks at the record at `moment`, unless it is to be looked at before that.
    mutating func add(_ record: AppRecord, at moment: Instant) {
        if let known = record.lookedAt, known <= moment { return }
        // A later place that it has already is void from now on.
        record.lookedAt = moment
        heap.append(Waiting(moment: moment, record: record))
        var child = heap.count - 1
        while child > 0, heap[child].moment < heap[(child - 1) / 2].moment {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes out the first record whose moment has come; its place may be void.
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
