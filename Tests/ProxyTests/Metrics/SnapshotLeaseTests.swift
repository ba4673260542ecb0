import HTTP
import NIOCore
import Testing

@testable import Proxy

/// What answers cost that keep an older snapshot than the store has.
@Suite("Leases of a snapshot")
struct SnapshotLeaseTests {
    private let budget = ByteBudget()
    private let store: MetricStore
    private let now = Timestamp(nanoseconds: 1)

    init() { store = MetricStore(answering: budget) }

    private func push(_ name: String, size: Int) throws {
        let bytes = Exposition(endingInNewline: ByteBuffer(repeating: UInt8(ascii: "\n"), count: size))
        try store.apply(Push(apps: [(try #require(AppName(name)), bytes)]), from: .push(listener: "x"), at: now)
    }

    private func hold(_ body: SharedPieces) {
        // Only the end of a gzip member is made for one answer alone.
        #expect(body.pieces.count - body.leases.count <= 1)
        for (piece, lease) in zip(body.pieces, body.leases) {
            if let lease { budget.add(lease.hold(bytes: piece.readableBytes)) }
        }
    }

    private func release(_ body: SharedPieces) {
        for case let lease? in body.leases { budget.release(-lease.release()) }
    }

    @Test("an old chunk counts once for all who keep it, a current one not at all", arguments: [false, true])
    func oldChunks(isCompressed: Bool) throws {
        for name in ["a", "b", "c"] { try push(name, size: 200 << 10) }
        func body() -> SharedPieces {
            let snapshot = store.snapshot(at: now)
            return isCompressed ? snapshot.compressed.body : snapshot.body
        }
        let first = body()
        hold(first)
        hold(first)
        #expect(budget.used == 0)
        try push("b", size: 201 << 10)
        let second = body()
        let chunk = first.pieces[isCompressed ? 2 : 1].readableBytes
        #expect(budget.used == chunk)
        hold(second)
        #expect(budget.used == chunk)
        release(first)
        #expect(budget.used == chunk)
        release(first)
        #expect(budget.used == 0)
        release(second)
        #expect(budget.used == 0)
    }

    @Test("a chunk without a change counts as replaced when it is joined with a neighbour")
    func joinedChunks() throws {
        for name in ["a", "b"] { try push(name, size: 200 << 10) }
        let first = store.snapshot(at: now).body
        #expect(first.pieces.count == 2)
        hold(first)
        try push("b", size: 10 << 10)
        #expect(store.snapshot(at: now).body.pieces.count == 1)
        #expect(budget.used == 400 << 10)
        release(first)
        #expect(budget.used == 0)
    }

    @Test("a large app goes on being current when small apps come and go beside it", arguments: ["a", "c"])
    func largeApp(neighbour: String) throws {
        try push("b", size: 1 << 20)
        let before = store.snapshot(at: now).body
        hold(before)
        for size in [10, 20, 300 << 10, 0] {
            try push(neighbour, size: size)
            _ = store.snapshot(at: now)
            #expect(budget.used == 0, "\(size)")
        }
        try push("b", size: 1 << 20)
        _ = store.snapshot(at: now)
        #expect(budget.used == 1 << 20)
        release(before)
        #expect(budget.used == 0)
    }

    @Test("a chunk goes on being current if its bytes stay and only what is said about it changes")
    func sameBytes() throws {
        let target = Target(
            url: TargetURL(origin: .http(host: "h", port: 1), pathAndQuery: "/"), name: try #require(AppName("t")))
        store.register(target)
        store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "t 1\n"))), for: target.url, at: now)
        let before = store.snapshot(at: now).body
        hold(before)
        store.record(.failure(reason: "timed out"), for: target.url, at: now)
        _ = store.snapshot(at: now)
        #expect(budget.used == 0)
        store.unregister(target.url)
        _ = store.snapshot(at: now)
        #expect(budget.used == 4)
        release(before)
        #expect(budget.used == 0)
    }

    @Test("generations of a store that is replaced again and again: each old chunk counts, until it is let go")
    func generations() throws {
        var held: [SharedPieces] = []
        for generation in 0..<20 {
            for name in ["a", "b", "c", "d"] { try push(name, size: (100 << 10) + generation) }
            let body = store.snapshot(at: now).body
            hold(body)
            held.append(body)
        }
        let old = held.dropLast().flatMap(\.pieces).reduce(0) { $0 + $1.readableBytes }
        #expect(budget.used == old)
        for body in held { release(body) }
        #expect(budget.used == 0)
    }
}
