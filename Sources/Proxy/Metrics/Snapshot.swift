public import NIOCore
import Synchronization

/// All apps at one moment: immutable, cheap to hold and to copy.
public struct Snapshot: Sendable {
    private let content: Content

    private final class Content: Sendable {
        /// In order of name; none is without apps.
        let chunks: [Chunk]
        let pieces: [ByteBuffer]
        let size: Int
        let count: Int
        let compressed: Mutex<Compressed?>
        /// What the self-metrics say of the apps, when somebody has asked for it.
        let appMetrics: Mutex<AppMetrics?>
        let lineGroups: LineGroups
        /// The member with `appMetrics` behind the expositions.
        let compressedWithAppMetrics: Mutex<GzipMember?>

        init(chunks: [Chunk], lineGroups: LineGroups) {
            self.chunks = chunks
            self.lineGroups = lineGroups
            self.appMetrics = Mutex(nil)
            self.compressedWithAppMetrics = Mutex(nil)
            self.pieces = chunks.compactMap { $0.content.size > 0 ? $0.content.buffer : nil }
            self.size = chunks.reduce(0) { $0 + $1.content.size }
            self.count = chunks.reduce(0) { $0 + $1.apps.count }
            self.compressed = Mutex(nil)
        }
    }

    private struct Compressed: Sendable {
        let member: GzipMember
        let pieces: [ByteBuffer]
        let size: Int
    }

    /// - Parameter lineGroups: those of the snapshots before this one.
    init(chunks: [Chunk], lineGroups: LineGroups) {
        self.content = Content(chunks: chunks, lineGroups: lineGroups)
    }

    /// Every app, in order of name; each is looked up when it is asked for, none copied.
    public var entries: Entries { Entries(chunks: content.chunks, count: content.count) }

    /// All expositions in order of app name, neighbours joined, ready to be sent one after another.
    public var pieces: [ByteBuffer] { content.pieces }

    /// The sum of the pieces' readable bytes.
    public var size: Int { content.size }

    /// The app of this name.
    public func entry(named name: AppName) -> AppEntry? {
        let chunks = content.chunks
        guard let chunk = Snapshot.last(chunks.count, where: { !(name < chunks[$0].apps[0].name) }) else { return nil }
        let apps = chunks[chunk].apps
        guard let app = Snapshot.last(apps.count, where: { !(name < apps[$0].name) }), apps[app].name == name else { return nil }
        return apps[app].entry
    }

    /// Bytes that `gzip` would still have to compress: 0 when it is ready. Never waits. A caller on an event loop
    /// moves more than some 256 KiB elsewhere; whoever asks meanwhile shares the result.
    public var uncompressedWork: Int {
        if (content.compressed.withLockIfAvailable { $0 != nil }) == true { return 0 }
        return content.chunks.reduce(0) { $0 + ($1.content.needsCompression ? $1.content.size : 0) }
    }

    /// All expositions as one gzip member, still open for more segments. Compresses what is not compressed yet, once;
    /// others who ask meanwhile wait and share it.
    public var gzipMember: GzipMember { compressed.member }

    /// All expositions as one whole gzip member; `size` in bytes. Made like `gzipMember`, and remembered.
    public var gzipPieces: (pieces: [ByteBuffer], size: Int) {
        let compressed = compressed
        return (compressed.pieces, compressed.size)
    }

    private var compressed: Compressed {
        content.compressed.withLock { compressed in
            if let compressed { return compressed }
            // Its working memory is made at the first chunk that needs it.
            var deflater: Deflater?
            var member = GzipMember()
            for chunk in content.chunks {
                if deflater == nil, chunk.content.needsCompression { deflater = Deflater() }
                member.append(chunk.content.segment(using: deflater))
            }
            let (pieces, size) = member.finished()
            let made = Compressed(member: member, pieces: pieces, size: size)
            compressed = made
            return made
        }
    }

    // MARK: - Self-metrics

    /// What the self-metrics say of the apps; made by the first who asks, and remembered.
    var appMetrics: AppMetrics {
        content.appMetrics.withLock { metrics in
            if let metrics { return metrics }
            let chunks = content.chunks
            let apps = chunks.reduce(0) { $0 + $1.apps.count { $0.counts } }
            let groups = content.lineGroups.update(chunks.map(\.lines))
            let made = AppMetrics(groups: groups, apps: apps, bytes: content.size)
            metrics = made
            return made
        }
    }

    /// Apps of which `appMetrics` has yet to write the lines. Never waits for long.
    var unwrittenApps: Int {
        if (content.appMetrics.withLockIfAvailable { $0 != nil }) == true { return 0 }
        return content.chunks.reduce(0) { $0 + $1.appsWithoutLines }
    }

    /// Bytes that `gzipMemberWithAppMetrics` would still have to compress, as far as they are written. Never waits.
    var uncompressedWorkWithAppMetrics: Int {
        if (content.compressedWithAppMetrics.withLockIfAvailable { $0 != nil }) == true { return 0 }
        let metrics = content.appMetrics.withLockIfAvailable { $0 } ?? nil
        return uncompressedWork + (metrics?.expositions.reduce(0) { $0 + ($1.needsCompression ? $1.size : 0) } ?? 0)
    }

    /// `gzipMember` with `appMetrics` behind it, still open for more segments; made once.
    var gzipMemberWithAppMetrics: GzipMember {
        content.compressedWithAppMetrics.withLock { member in
            if let member { return member }
            var made = gzipMember
            var deflater: Deflater?
            for exposition in appMetrics.expositions {
                if deflater == nil, exposition.needsCompression { deflater = Deflater() }
                made.append(exposition.segment(using: deflater))
            }
            member = made
            return made
        }
    }

    /// The last of `count` sorted indices that still satisfies the condition.
    private static func last(_ count: Int, where condition: (Int) -> Bool) -> Int? {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if condition(middle) { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : low - 1
    }

    /// In order of name; a chunk of which nothing changed is the same object in the next snapshot.
    var chunks: [Chunk] { content.chunks }
}

extension Snapshot {
    /// A snapshot's apps, in order of name.
    public struct Entries: Collection, Sendable {
        /// The place of an app.
        public struct Index: Comparable, Sendable {
            fileprivate var chunk: Int
            fileprivate var app: Int

            /// By place.
            public static func < (a: Index, b: Index) -> Bool { (a.chunk, a.app) < (b.chunk, b.app) }
        }

        fileprivate let chunks: [Chunk]
        /// How many apps there are.
        public let count: Int

        /// Whether there is no app at all.
        public var isEmpty: Bool { count == 0 }
        /// The place of the first app.
        public var startIndex: Index { Index(chunk: 0, app: 0) }
        /// The place after the last app.
        public var endIndex: Index { Index(chunk: chunks.count, app: 0) }

        /// The app at a place.
        public subscript(position: Index) -> AppEntry { chunks[position.chunk].apps[position.app].entry }

        /// The place of the next app.
        public func index(after i: Index) -> Index {
            i.app + 1 < chunks[i.chunk].apps.count ? Index(chunk: i.chunk, app: i.app + 1) : Index(chunk: i.chunk + 1, app: 0)
        }
    }
}
