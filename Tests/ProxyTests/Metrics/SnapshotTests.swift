import Glibc
@_spi(CustomByteBufferAllocator) import NIOCore
import Synchronization
import Testing

@testable import Proxy

@Suite("Snapshot")
struct SnapshotTests {
    private let store = MetricStore()
    private let now = Timestamp(nanoseconds: 1)

    private func push(_ apps: [(String, String)]) throws {
        let apps = try apps.map { (try #require(AppName($0.0)), Exposition(addingNewlineTo: ByteBuffer(string: $0.1))) }
        try store.apply(Push(apps: apps), from: .push(listener: "x"), at: Timestamp(nanoseconds: 1))
    }

    @Test("an empty store has an empty snapshot, and a valid empty gzip member")
    func empty() throws {
        let snapshot = store.snapshot(at: now)
        #expect(snapshot.entries.isEmpty)
        #expect(snapshot.pieces.isEmpty)
        #expect(snapshot.uncompressedWork == 0)
        var output = ByteBuffer()
        let gunzip = Gunzip(limit: 10)
        for piece in snapshot.gzipPieces.pieces { try gunzip.inflate(piece, into: &output) }
        try gunzip.finish()
        #expect(output.readableBytes == 0)
    }

    @Test("while a large one is made, the bytes that it replaces are freed, and memory is returned")
    func freesMeanwhile() throws {
        let allocator = ByteBufferAllocator(
            allocate: { malloc($0) }, reallocate: { bytes, _, size in realloc(bytes, size) },
            deallocate: { bytes in
                freedBuffers.add(1, ordering: .relaxed)
                free(bytes)
            }, copy: { memcpy($0, $1, $2) })
        let freed = Mutex<[Int]>([])
        let store = MetricStore(returnMemory: { freed.withLock { $0.append(freedBuffers.load(ordering: .relaxed)) } })
        // Two of them make a chunk.
        func apps() throws -> [(name: AppName, exposition: Exposition)] {
            try (0..<120).map { index in
                var text = allocator.buffer(capacity: 100 << 10)
                text.writeRepeatingByte(UInt8(ascii: "\n"), count: 100 << 10)
                return (try #require(AppName("app\(100 + index)")), Exposition(endingInNewline: text))
            }
        }
        try store.apply(Push(apps: apps()), from: .push(listener: "x"), at: now)
        freedBuffers.store(0, ordering: .relaxed)
        withExtendedLifetime(store.snapshot(at: now)) {}
        let counts = freed.withLock { $0 }
        // Each time 4 MiB have been copied.
        #expect(counts == [42, 84])
    }

    @Test("it is made once per change and shared by all who ask")
    func shared() throws {
        try push([("b", "b 1"), ("a", "a 1")])
        let first = store.snapshot(at: now)
        let second = store.snapshot(at: now)
        #expect(first.chunks.count == 1 && second.chunks.count == 1)
        #expect(first.chunks[0] === second.chunks[0])
        try push([("c", "c 1")])
        #expect(first.entries.map(\.name.description) == ["a", "b"])
        #expect(store.snapshot(at: now).entries.map(\.name.description) == ["a", "b", "c"])
    }

    @Test("a snapshot returns memory each time it has copied 4 MiB")
    func returnsMemory() throws {
        let returns = Mutex(0)
        let store = MetricStore { returns.withLock { $0 += 1 } }
        func push(apps: Int, of size: Int) throws {
            for index in 0..<apps {
                let exposition = Exposition(endingInNewline: ByteBuffer(repeating: 0x0A, count: size))
                try store.apply(
                    Push(apps: [(name: try #require(AppName("app\(index)")), exposition: exposition)]), from: .push(listener: "x"), at: now)
            }
        }
        try push(apps: 100, of: 10_000)
        _ = store.snapshot(at: now)
        #expect(returns.withLock { $0 } == 0)
        try push(apps: 1000, of: 10_000)
        _ = store.snapshot(at: now)
        #expect(returns.withLock { $0 } == 2)
        // Nothing is copied any more.
        _ = store.snapshot(at: now)
        #expect(returns.withLock { $0 } == 2)
        // One that an event loop makes never does.
        try push(apps: 10, of: 10_000)
        #expect(store.quickSnapshot(at: now.moment) != nil)
        #expect(returns.withLock { $0 } == 2)
    }

    @Test("it tells what gzip would still have to compress")
    func work() throws {
        try push([("a", String(repeating: "a 1\n", count: 100))])
        let snapshot = store.snapshot(at: now)
        #expect(snapshot.uncompressedWork == 400)
        let (pieces, size) = snapshot.gzipPieces
        #expect(size == pieces.reduce(0) { $0 + $1.readableBytes })
        #expect(snapshot.uncompressedWork == 0)
        // Compressed bytes of what did not change come along.
        try push([("b", "b 1")])
        #expect(store.snapshot(at: now).uncompressedWork <= 404)
    }

    @Test("gzip with a limit compresses up to the limit, and nothing beyond it")
    func quickCompression() throws {
        try push([("a", String(repeating: "a 1\n", count: 100))])
        let snapshot = store.snapshot(at: now)
        #expect(snapshot.compressed(compressingAtMost: 399) == nil)
        #expect(snapshot.compressed(compressingAtMost: 400) != nil)
        // The result is kept.
        #expect(snapshot.compressed(compressingAtMost: 0) != nil)
    }

    @Test("a failing target costs no copy and no compression of its chunk")
    func failureKeepsBytes() throws {
        let target = Target(
            url: TargetURL(origin: .http(host: "h", port: 1), pathAndQuery: "/"), name: try #require(AppName("t")))
        store.register(target)
        store.record(.success(Exposition(endingInNewline: ByteBuffer(string: "t 1\n"))), for: target.url, at: Timestamp(nanoseconds: 1))
        try push([("a", "a 1")])
        let before = store.snapshot(at: now)
        _ = before.gzipPieces
        store.record(.failure(reason: "timed out"), for: target.url, at: Timestamp(nanoseconds: 2))
        let after = store.snapshot(at: now)
        #expect(after.uncompressedWork == 0)
        #expect(after.chunks[0].content === before.chunks[0].content)
        #expect(after.entry(named: target.name)?.state == .failing(reason: "timed out"))
        #expect(before.entry(named: target.name)?.state == .ok)
    }
}

/// The buffers of one test that were freed. Its allocator's functions cannot capture anything.
private let freedBuffers = Atomic(0)
