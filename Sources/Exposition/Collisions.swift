/// Series that would be exposed more than once: by two apps, or by one app twice.
public struct Collisions: Equatable, Sendable {
    /// One of these series.
    public struct Series: Equatable, Sendable {
        /// Name and labels as the first app writes them; longer ones than `Collisions.maxTextLength` are cut, and end in `…`.
        public var text: String
        /// The apps that expose it, in the order in which they were looked at, each once; at most `Collisions.maxApps`.
        public var apps: [String]
        /// Whether further apps expose it.
        public var hasMoreApps = false
        /// How often it is exposed.
        public var times: Int

        /// Makes a series from its parts.
        public init(text: String, apps: [String], times: Int) {
            self.text = text
            self.apps = apps
            self.times = times
        }

        /// One more sample of the series is in `app`. Names are compared byte by byte.
        fileprivate mutating func add(_ app: String) {
            times += 1
            if let last = apps.last, last.utf8.elementsEqual(app.utf8) { return }
            guard apps.count < Collisions.maxApps else { return hasMoreApps = true }
            apps.append(app)
        }
    }

    /// How many series are listed.
    public static let maxListed = 100
    /// How many apps are listed for one series.
    public static let maxApps = 20
    /// How many bytes of a series are listed.
    static let maxTextLength = 1024

    /// The number of these series, each counted once; `nil` when there are too many series to count them.
    public var count: Int?
    /// The first of them.
    public var listed: [Series]

    /// Makes collisions from their parts.
    public init(count: Int?, listed: [Series]) {
        self.count = count
        self.listed = listed
    }

    /// No series collides.
    public static let none = Collisions(count: 0, listed: [])
    /// There are more series than can be compared.
    public static let uncounted = Collisions(count: nil, listed: [])
}

/// Finds collisions in two passes over the same texts: the first pass counts, the second one lists. Each text is one step, so that the work
/// can be spread over time. It needs eight bytes of memory for each series, up to a limit.
public struct CollisionSearch: Sendable {
    /// How many series are compared at most.
    public static let maxSeries = 4 << 20

    private var hashes: [UInt64] = []
    private var isOverfull = false
    private var repeated: Set<UInt64> = []
    private var listed: [Collisions.Series] = []
    private var places: [UInt64: Int] = [:]
    private let limit: Int

    /// An empty search.
    public init(maxSeries: Int = CollisionSearch.maxSeries) { limit = maxSeries }

    /// First pass: adds the series of one more text. Lines that cannot be read are left out.
    public mutating func count(_ text: UnsafeRawBufferPointer) {
        guard !isOverfull else { return }
        forEachSample(of: text) { parser in
            guard hashes.count < limit else {
                isOverfull = true
                hashes = []
                return false
            }
            hashes.append(parser.seriesHash)
            return true
        }
    }

    /// Ends the first pass.
    /// - Returns: whether there is anything to list.
    public mutating func endCount() -> Bool {
        hashes.sort()
        for index in hashes.indices.dropFirst() where hashes[index] == hashes[index - 1] { repeated.insert(hashes[index]) }
        hashes = []
        return !repeated.isEmpty
    }

    /// Second pass: finds the listed series in one more app.
    public mutating func list(_ text: UnsafeRawBufferPointer, of app: String) {
        forEachSample(of: text) { parser in
            let hash = parser.seriesHash
            guard repeated.contains(hash) else { return true }
            if let place = places[hash] {
                listed[place].add(app)
            } else if listed.count < Collisions.maxListed {
                places[hash] = listed.count
                listed.append(Collisions.Series(text: Self.excerpt(of: parser.text[parser.series]), apps: [app], times: 1))
            }
            return true
        }
    }

    /// The result. Series that a text lost between the passes are not listed.
    public var result: Collisions {
        isOverfull ? .uncounted : Collisions(count: repeated.count, listed: listed.filter { $0.times > 1 })
    }

    private static func excerpt(of series: UnsafeRawBufferPointer) -> String {
        guard series.count > Collisions.maxTextLength else { return String(decoding: series, as: UTF8.self) }
        var end = Collisions.maxTextLength
        // Not within a character.
        while end > 0, series[end] & 0xC0 == 0x80 { end -= 1 }
        return String(decoding: series[..<end], as: UTF8.self) + "…"
    }

    /// Calls `body` after each sample, as long as it returns true.
    private func forEachSample(of text: UnsafeRawBufferPointer, _ body: (borrowing Parser) -> Bool) {
        var parser = Parser(Text(text), isUTF8: true)
        while true {
            do throws(Fault) {
                switch try parser.next() {
                case .end: return
                case .sample: guard body(parser) else { return }
                default: break
                }
            } catch {
                parser.skipLine()
            }
        }
    }
}
