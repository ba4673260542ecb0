public import HTTP
public import NIOCore
import Synchronization

/// The pieces of an answer, or of a part of one, which several answers may share.
public struct SharedPieces: Sendable {
    /// In order.
    public var pieces: [ByteBuffer] = []
    /// The lease of each piece, as `Response.leases`.
    public var leases: [PieceLease?] = []
    /// The sum of the pieces' readable bytes.
    public var size = 0

    /// No pieces.
    init() {}

    /// These pieces, with a lease for each.
    init(pieces: [ByteBuffer], leases: [PieceLease?], size: Int) {
        self.pieces = pieces
        self.leases = leases
        self.size = size
    }

    /// One piece that only answers keep.
    init(_ piece: ByteBuffer) {
        append(piece)
    }

    /// Adds a piece that only answers keep.
    mutating func append(_ piece: ByteBuffer) {
        pieces.append(piece)
        leases.append(PieceLease(isStored: false))
        size += piece.readableBytes
    }

    /// Adds pieces that other answers share, with their leases.
    mutating func append(_ more: SharedPieces) {
        pieces += more.pieces
        leases += more.leases
        size += more.size
    }
}

/// All apps at one moment: immutable, cheap to hold and to copy.
public struct Snapshot: Sendable {
    private let content: Content

    private final class Content: Sendable {
        /// In order of name; none is without apps.
        let chunks: [Chunk]
        let generation: UInt64
        let plain: SharedPieces
        let count: Int
        let compressed = Mutex<Compressed?>(nil)
        let derived = Derived()
        let instances: [String]

        init(chunks: [Chunk], generation: UInt64) {
            let filled = chunks.filter { $0.content.size > 0 }
            self.chunks = chunks
            self.generation = generation
            plain = SharedPieces(
                pieces: filled.map(\.content.buffer), leases: filled.map(\.leases.plain), size: filled.reduce(0) { $0 + $1.content.size })
            count = chunks.reduce(0) { $0 + $1.apps.count }
            instances = chunks.allSatisfy(\.instances.isEmpty) ? [] : ProgramInstance.union(chunks.lazy.map(\.instances))
        }
    }

    /// All expositions as one gzip member, still open for more segments.
    struct Compressed: Sendable {
        var member: GzipMember
        /// The lease of each of the member's pieces.
        var leases: [PieceLease?]

        /// The whole member.
        var body: SharedPieces {
            let (pieces, size) = member.finished()
            return SharedPieces(pieces: pieces, leases: leases, size: size)
        }
    }

    /// The proxies whose metrics these apps hold, this one not counted.
    var instances: [String] { content.instances }

    /// - Parameter generation: the number of changes of the store that it shows.
    init(chunks: [Chunk], generation: UInt64) {
        content = Content(chunks: chunks, generation: generation)
    }

    /// Every app, in order of name; each is looked up when it is asked for, none copied.
    public var entries: Entries { Entries(chunks: content.chunks, count: content.count) }

    /// All expositions in order of app name, neighbours joined, ready to be sent one after another.
    public var body: SharedPieces { content.plain }

    /// The pieces of `body`.
    public var pieces: [ByteBuffer] { content.plain.pieces }

    /// The size of `body`.
    public var size: Int { content.plain.size }

    /// Differs between any two snapshots of one store that show something else.
    var generation: UInt64 { content.generation }

    /// In order of name. A chunk that did not change is the same object in the next snapshot.
    var chunks: [Chunk] { content.chunks }

    /// What the self-metrics derive from this snapshot.
    var derived: Derived { content.derived }

    // MARK: - gzip

    /// All expositions compressed. Compresses what is not compressed yet, once; other callers wait meanwhile and share the result.
    var compressed: Compressed {
        content.compressed.withLock { compressed in
            if let compressed { return compressed }
            let made = compress()
            compressed = made
            return made
        }
    }

    /// `compressed`, if at most this many bytes have still to be compressed for it; `nil` also while another thread does that. Never waits.
    func compressed(compressingAtMost bytes: Int) -> Compressed? {
        content.compressed.withLockIfAvailable { compressed in
            if let compressed { return compressed }
            guard uncompressedBytes <= bytes else { return nil }
            let made = compress()
            compressed = made
            return made
        } ?? nil
    }

    /// Bytes of chunks that nothing has compressed yet.
    private var uncompressedBytes: Int {
        content.chunks.reduce(0) { $0 + ($1.content.needsCompression ? $1.content.size : 0) }
    }

    private func compress() -> Compressed {
        // Its working memory is made at the first chunk that needs it.
        var deflater: Deflater?
        var member = GzipMember()
        var leases: [PieceLease?] = [nil]
        for chunk in content.chunks where chunk.content.size > 0 {
            if deflater == nil, chunk.content.needsCompression { deflater = Deflater() }
            member.append(chunk.content.segment(using: deflater))
            leases.append(chunk.leases.compressed)
        }
        return Compressed(member: member, leases: leases)
    }
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
