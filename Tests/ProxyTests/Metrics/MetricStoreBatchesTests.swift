import NIOCore
import Synchronization
import Testing

@testable import Proxy

private final class Flag: Sendable {
    let value = Atomic(false)
}

/// Pushes of so many apps that they are put in batches.
@Suite("MetricStore: pushes in batches")
struct MetricStoreBatchesTests {
    private static let count = 5000
    private let source = Source.push(listener: "127.0.0.1:6554")
    private let now = Timestamp(nanoseconds: 5).moment

    private func store(apps: Int, size: Int = 1 << 30) -> MetricStore {
        MetricStore(limits: StoreLimits(maxApps: apps, maxTotalSize: ByteCount(size)))
    }

    private func push(_ prefix: String, _ numbers: Range<Int> = 0..<count, _ text: String = "a 1") throws -> Push {
        Push(
            apps: try numbers.map {
                (try #require(AppName("\(prefix)\($0)")), Exposition(addingNewlineTo: ByteBuffer(string: text)))
            })
    }

    @Test("a snapshot has all apps of the push or none, also while it is put")
    func together() async throws {
        let store = store(apps: 2 * Self.count)
        let pushes = try (1...20).map { round in try push("a", 0..<Self.count, "a \(round)") }
        let (source, now) = (source, now)
        let isDone = Flag()
        async let applied: Void = {
            defer { isDone.value.store(true, ordering: .releasing) }
            for push in pushes { try store.apply(push, from: source, at: now) }
        }()
        while !isDone.value.load(ordering: .acquiring) {
            let texts = Set(store.snapshot(at: now).entries.map { String(buffer: $0.exposition.buffer) })
            #expect(texts.count <= 1)
            await Task.yield()
        }
        try await applied
        let snapshot = store.snapshot(at: now)
        #expect(snapshot.entries.count == Self.count)
        #expect(snapshot.size == Self.count * "a 20\n".utf8.count)
    }

    @Test("it is refused whole at max_apps and at max_total_size, and fits when it needs exactly what is left")
    func limits() throws {
        let full = store(apps: Self.count + 9)
        try full.apply(push("b", 0..<10), from: source, at: now)
        let large = try push("a")
        #expect(throws: Rejection.tooManyApps(limit: Self.count + 9)) { try full.apply(large, from: source, at: now) }
        #expect(full.snapshot(at: now).entries.count == 10)
        let room = store(apps: Self.count + 10)
        try room.apply(push("b", 0..<10), from: source, at: now)
        try room.apply(large, from: source, at: now)
        #expect(room.snapshot(at: now).entries.count == Self.count + 10)

        // The same names again need no more apps, but more bytes.
        let size = room.snapshot(at: now).size
        room.setLimits(StoreLimits(maxApps: Self.count + 10, maxTotalSize: ByteCount(size + Self.count - 1)))
        let longer = try push("a", 0..<Self.count, "a 12")
        #expect(throws: Rejection.storeFull(limit: ByteCount(size + Self.count - 1))) { try room.apply(longer, from: source, at: now) }
        #expect(room.snapshot(at: now).size == size)
        room.setLimits(StoreLimits(maxApps: Self.count + 10, maxTotalSize: ByteCount(size + Self.count)))
        try room.apply(longer, from: source, at: now)
        #expect(room.snapshot(at: now).size == size + Self.count)
        // Nothing stays reserved.
        room.setLimits(StoreLimits(maxApps: Self.count + 11, maxTotalSize: ByteCount(2 * size)))
        try room.apply(push("c", 0..<1), from: source, at: now)
    }

    @Test("expired apps make room for it, those that it brings back included")
    func expired() throws {
        let store = MetricStore(
            limits: StoreLimits(maxApps: Self.count + 100, maxTotalSize: ByteCount(1 << 30), expireAfter: .seconds(1)))
        try store.apply(push("a", 0..<200), from: source, at: now)
        let later = Timestamp(nanoseconds: 5_000_000_000).moment
        try store.apply(push("a", 100..<(100 + Self.count)), from: source, at: later)
        let fresh = store.snapshot(at: later).entries.filter(\.isFresh)
        #expect(fresh.count == Self.count)
    }
}
