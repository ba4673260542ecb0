import HTTP
import NIOCore
import Synchronization

// The lines of the self-metrics about single apps. They are written once for each chunk and joined once for each snapshot. Otherwise a
// scrape with a hundred thousand apps would write two hundred thousand lines.

/// The lines about one chunk's apps, ready to be sent, grouped by family. The last two families are empty while no app is checked.
final class AppLines: Sendable {
    let updates: ByteBuffer
    let sizes: ByteBuffer
    let verdicts: ByteBuffer
    let samples: ByteBuffer

    convenience init(of apps: [StoredApp]) {
        var updates = ExpositionWriter(capacity: 96 * apps.count)
        var sizes = ExpositionWriter(capacity: 64 * apps.count)
        var verdicts = ExpositionWriter(capacity: 0)
        var samples = ExpositionWriter(capacity: 0)
        for app in apps {
            let labels = ExpositionWriter.labels(("app", app.name.description))
            if let time = app.entry.lastUpdate?.time { updates.sample(.appLastUpdate, labels: labels, nanoseconds: time.nanoseconds) }
            sizes.sample(.appSize, labels: labels, app.size)
            // After a restart it is not known what was wrong with an app that stays withheld.
            guard !app.isExpired, app.entry.check != nil || app.entry.isWithheld else { continue }
            verdicts.sample(.appValid, labels: labels, app.entry.check?.isValid == true ? 1 : 0)
            samples.sample(.appSamples, labels: labels, app.entry.check?.samples ?? 0)
        }
        self.init(updates: updates.buffer, sizes: sizes.buffer, verdicts: verdicts.buffer, samples: samples.buffer)
    }

    init(updates: ByteBuffer, sizes: ByteBuffer, verdicts: ByteBuffer = ByteBuffer(), samples: ByteBuffer = ByteBuffer()) {
        self.updates = updates
        self.sizes = sizes
        self.verdicts = verdicts
        self.samples = samples
    }
}

extension Chunk {
    /// The lines about its apps. The first caller makes them, others wait.
    fileprivate var lines: AppLines { derived.value { AppLines(of: apps) } }
}

/// The lines of neighbouring chunks, joined so that pieces and compressed segments do not get too small.
final class AppLineGroup: Sendable {
    /// A group is complete when its lines about sizes, without those of the other families, have at least this many bytes.
    static let minSize = 32 << 10

    /// The chunks' lines, in order.
    let parts: [AppLines]
    let updates: Exposition
    let sizes: Exposition
    let verdicts: Exposition
    let samples: Exposition

    init(_ parts: [AppLines]) {
        self.parts = parts
        updates = Exposition(joining: parts.map(\.updates))
        sizes = Exposition(joining: parts.map(\.sizes))
        verdicts = Exposition(joining: parts.map(\.verdicts))
        samples = Exposition(joining: parts.map(\.samples))
    }

    /// Divides all lines into groups, and reuses the earlier groups that still fit.
    static func groups(of lines: [AppLines], reusing earlier: [AppLineGroup]) -> [AppLineGroup] {
        let groups = cut(lines, reusing: earlier)
        // Many changes cause many short groups.
        let size = lines.reduce(0) { $0 + $1.sizes.readableBytes }
        return groups.count > 2 * (size / minSize) + 4 ? cut(lines, reusing: []) : groups
    }

    private static func cut(_ lines: [AppLines], reusing earlier: [AppLineGroup]) -> [AppLineGroup] {
        var known: [ObjectIdentifier: AppLineGroup] = [:]
        for group in earlier { known[ObjectIdentifier(group.parts[0])] = group }
        var groups: [AppLineGroup] = []
        var start = 0
        var size = 0
        for (index, part) in lines.enumerated() {
            if index == start, let group = known[ObjectIdentifier(part)], group.isAt(index, of: lines) {
                groups.append(group)
                start = index + group.parts.count
                continue
            }
            guard index >= start else { continue }
            size += part.sizes.readableBytes
            let next = index + 1
            // A short group is better than one that shifts all later groups.
            let meetsKnown = next < lines.count && known[ObjectIdentifier(lines[next])]?.isAt(next, of: lines) == true
            if size >= minSize || meetsKnown || next == lines.count {
                groups.append(AppLineGroup(Array(lines[start...index])))
                start = next
                size = 0
            }
        }
        return groups
    }

    private func isAt(_ index: Int, of lines: [AppLines]) -> Bool {
        index + parts.count <= lines.count && zip(parts, lines[index...]).allSatisfy { $0 === $1 }
    }
}

/// The groups of the last snapshot whose lines were needed. The next snapshot reuses unchanged ones.
final class LineGroups: Sendable {
    private let last = Mutex<[AppLineGroup]>([])

    /// The groups of these lines.
    func update(_ lines: [AppLines]) -> [AppLineGroup] {
        last.withLock { last in
            last = AppLineGroup.groups(of: lines, reusing: last)
            return last
        }
    }

    /// The same; `nil` while another thread does it. Never waits.
    func updateIfAvailable(_ lines: [AppLines]) -> [AppLineGroup]? {
        last.withLockIfAvailable { last in
            last = AppLineGroup.groups(of: lines, reusing: last)
            return last
        }
    }
}

/// The self-metrics about a snapshot's apps; made once for the snapshot and freed with it.
final class AppMetrics: Sendable {
    /// In order, one family after another.
    let expositions: [Exposition]
    /// The snapshot's expositions, followed by these.
    let body: SharedPieces
    /// The same compressed, if a request has asked for it.
    private let compressed = Mutex<Snapshot.Compressed?>(nil)

    private init(of snapshot: Snapshot, groups: [AppLineGroup]) {
        var totals = ExpositionWriter(capacity: 512)
        totals.single(.apps, snapshot.chunks.reduce(0) { $0 + $1.countedApps })
        totals.single(.storedBytes, snapshot.chunks.reduce(0) { $0 + $1.cost })
        if groups.isEmpty {
            expositions = [Exposition(endingInNewline: totals.buffer)]
        } else {
            totals.begin(.appLastUpdate)
            var parts = [Exposition(endingInNewline: totals.buffer)] + groups.map(\.updates)
            parts += [AppMetrics.sizesHeader] + groups.map(\.sizes)
            // A family without samples is left out.
            if groups.contains(where: { $0.verdicts.size > 0 }) {
                parts += [AppMetrics.verdictsHeader] + groups.map(\.verdicts) + [AppMetrics.samplesHeader] + groups.map(\.samples)
            }
            parts.removeAll { $0.size == 0 }
            // Small ones become one piece and are compressed together.
            expositions = groups.count == 1 ? [Exposition(joining: parts.map(\.buffer))] : parts
        }
        let own = snapshot.body
        body = SharedPieces(
            pieces: own.pieces + expositions.map(\.buffer),
            // The next snapshot may share these bytes. They count nevertheless while an answer keeps them.
            leases: own.leases + expositions.map { _ in PieceLease(isStored: false) },
            size: own.size + expositions.reduce(0) { $0 + $1.size })
    }

    private static let sizesHeader = header(.appSize)
    private static let verdictsHeader = header(.appValid)
    private static let samplesHeader = header(.appSamples)

    private static func header(_ family: OwnFamily) -> Exposition {
        var writer = ExpositionWriter(capacity: 256)
        writer.begin(family)
        return Exposition(endingInNewline: writer.buffer)
    }

    /// Returns the app metrics of this snapshot. The first caller makes them; other callers wait.
    static func of(_ snapshot: Snapshot, _ groups: LineGroups) -> AppMetrics {
        snapshot.derived.value { AppMetrics(of: snapshot, groups: groups.update(snapshot.chunks.map(\.lines))) }
    }

    /// The same, if the lines of at most `apps` apps are missing; `nil` also while another thread writes them. Never waits.
    static func of(_ snapshot: Snapshot, _ groups: LineGroups, writingAtMost apps: Int) -> AppMetrics? {
        snapshot.derived.valueIfQuick {
            let unwritten = snapshot.chunks.reduce(0) { $0 + ($1.derived.isMissing ? $1.apps.count : 0) }
            guard unwritten <= apps, let groups = groups.updateIfAvailable(snapshot.chunks.map(\.lines)) else { return nil }
            return AppMetrics(of: snapshot, groups: groups)
        }
    }

    /// The snapshot and these, compressed and open for more segments; made once.
    func compressed(with snapshot: Snapshot) -> Snapshot.Compressed {
        compressed.withLock { compressed in
            if let compressed { return compressed }
            let made = append(to: snapshot.compressed)
            compressed = made
            return made
        }
    }

    /// The same, if at most `bytes` bytes are not compressed yet; `nil` also while another thread compresses them. Never waits.
    func compressed(with snapshot: Snapshot, compressingAtMost bytes: Int) -> Snapshot.Compressed? {
        compressed.withLockIfAvailable { compressed in
            if let compressed { return compressed }
            let own = uncompressedBytes
            guard own <= bytes, let member = snapshot.compressed(compressingAtMost: bytes - own) else { return nil }
            let made = append(to: member)
            compressed = made
            return made
        } ?? nil
    }

    /// The bytes of `expositions` that are not compressed yet.
    var uncompressedBytes: Int { expositions.reduce(0) { $0 + ($1.needsCompression ? $1.size : 0) } }

    private func append(to compressed: Snapshot.Compressed) -> Snapshot.Compressed {
        var made = compressed
        var deflater: Deflater?
        for exposition in expositions where exposition.size > 0 {
            if deflater == nil, exposition.needsCompression { deflater = Deflater() }
            made.member.append(exposition.segment(using: deflater))
            made.leases.append(PieceLease(isStored: false))
        }
        return made
    }
}

extension Exposition {
    /// Joins the bytes of all parts.
    init(joining parts: [ByteBuffer]) {
        guard parts.count > 1 else {
            self.init(endingInNewline: parts.first ?? ByteBuffer())
            return
        }
        self.init(endingInNewline: .joining(parts, size: parts.reduce(0) { $0 + $1.readableBytes }))
    }
}
