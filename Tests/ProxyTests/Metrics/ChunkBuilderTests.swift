import NIOCore
import Testing

@testable import Proxy

/// The chunks against a plain dictionary, under random changes.
@Suite("ChunkBuilder")
struct ChunkBuilderTests {
    private let now = Timestamp(nanoseconds: 1)
    /// A small generator whose seed a failing test can name.
    struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            // SplitMix64.
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
    }

    private let store = MetricStore()

    private func push(_ apps: [(String, String)]) throws {
        let apps = try apps.map { (try #require(AppName($0.0)), Exposition(addingNewlineTo: ByteBuffer(string: $0.1))) }
        try store.apply(Push(apps: apps), from: .push(listener: "x"), at: Timestamp(nanoseconds: 1))
    }

    private func expect(_ model: [String: String], in snapshot: Snapshot, _ seed: UInt64) throws {
        let names = model.keys.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        #expect(snapshot.entries.map(\.name.description) == names, "seed \(seed)")
        #expect(snapshot.entries.count == names.count)
        let whole = names.map { model[$0] ?? "" }.joined()
        #expect(snapshot.size == whole.utf8.count, "seed \(seed)")
        #expect(snapshot.pieces.map { String(buffer: $0) }.joined() == whole, "seed \(seed)")
        for name in names {
            let appName = try #require(AppName(name))
            let entry = try #require(snapshot.entry(named: appName))
            #expect(String(buffer: entry.exposition.buffer) == model[name], "seed \(seed)")
        }
        let absent = try #require(AppName("none"))
        #expect(snapshot.entry(named: absent) == nil)
        // Unless it is a single app, a chunk stays below what costs too much to build again.
        for chunk in snapshot.chunks {
            #expect(!chunk.apps.isEmpty)
            #expect(chunk.apps.count == 1 || chunk.content.size <= ChunkBuilder.maxWeight, "seed \(seed)")
        }
        // Light neighbours are joined, or the pieces would become many.
        for (a, b) in zip(snapshot.chunks, snapshot.chunks.dropFirst()) {
            let weights = [a, b].map { $0.content.size + $0.apps.count * ChunkBuilder.appWeight }
            #expect(
                min(weights[0], weights[1]) >= ChunkBuilder.minWeight || weights[0] + weights[1] > ChunkBuilder.maxWeight, "seed \(seed)")
        }
        var gunzipped = ByteBuffer()
        let gunzip = Gunzip(limit: 1 << 30)
        for piece in snapshot.gzipPieces.pieces { try gunzip.inflate(piece, into: &gunzipped) }
        try gunzip.finish()
        #expect(String(buffer: gunzipped) == whole, "seed \(seed)")
    }

    @Test("any changes in any order give what a dictionary gives", arguments: UInt64(1)...12)
    func model(seed: UInt64) throws {
        var random = Random(state: seed)
        var model: [String: String] = [:]
        var targets: [String: Target] = [:]
        // Sizes around the limits of a chunk for some seeds, tiny ones for others.
        let sizes = seed % 3 == 0 ? [0, 1, 20, 50] : seed % 3 == 1 ? [0, 100, 30_000, 70_000] : [10, 170_000, 270_000]
        for step in 0..<60 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0...5:
                let count = Int.random(in: 1...20, using: &random)
                var apps: [String: String] = [:]
                for _ in 0..<count {
                    let name = "app\(Int.random(in: 0..<80, using: &random))"
                    guard targets[name] == nil else { continue }
                    let size = sizes.randomElement(using: &random) ?? 0
                    apps[name] = size == 0 ? "" : String(repeating: String(step % 10), count: size) + "\n"
                }
                guard !apps.isEmpty else { continue }
                try push(apps.map { ($0.key, $0.value) })
                model.merge(apps) { $1 }
            case 6, 7:
                let name = "poll\(Int.random(in: 0..<20, using: &random))"
                let target = try targets[name] ?? target(name)
                if targets[name] == nil {
                    store.register(target)
                    targets[name] = target
                    model[name] = ""
                }
                if Bool.random(using: &random) {
                    let text = "\(step)\n"
                    store.record(
                        .success(Exposition(endingInNewline: ByteBuffer(string: text))), for: target.url, at: Timestamp(nanoseconds: 2))
                    model[name] = text
                } else {
                    store.record(.failure(reason: "\(step)"), for: target.url, at: Timestamp(nanoseconds: 2))
                }
            case 8:
                guard let name = targets.keys.sorted().randomElement(using: &random), let target = targets.removeValue(forKey: name) else {
                    continue
                }
                store.unregister(target.url)
                model[name] = nil
            default:
                try expect(model, in: store.snapshot(at: now), seed)
            }
        }
        try expect(model, in: store.snapshot(at: now), seed)
    }

    private func target(_ name: String) throws -> Target {
        let url = TargetURL(origin: .http(host: name, port: 1), pathAndQuery: "/")
        return Target(url: url, name: try #require(AppName(name)))
    }

    @Test("unchanged chunks are the same objects in the next snapshot")
    func sharing() throws {
        let line = String(repeating: "x", count: 50_000)
        try push((0..<40).map { ("app\($0 + 10)", line) })
        let before = store.snapshot(at: now)
        #expect(before.chunks.count > 5)
        try push([("app25", line + "y")])
        let after = store.snapshot(at: now)
        let kept = after.chunks.filter { chunk in before.chunks.contains { $0 === chunk } }
        #expect(kept.count >= after.chunks.count - 2)
        // A snapshot once made stays as it was.
        #expect(before.size == 40 * 50_001)
        #expect(after.size == 40 * 50_001 + 1)
    }

    @Test("an update of the same size class does not make more and more chunks")
    func stable() throws {
        let line = String(repeating: "x", count: 2000)
        try push((0..<500).map { ("app\($0 + 1000)", line) })
        let first = store.snapshot(at: now).chunks.count
        for round in 0..<50 {
            try push([("app\(1000 + round * 7)", line)])
            _ = store.snapshot(at: now)
        }
        #expect(store.snapshot(at: now).chunks.count <= first + 1)
        #expect(first <= 1 + 500 * 2064 / ChunkBuilder.minWeight)
    }
}
