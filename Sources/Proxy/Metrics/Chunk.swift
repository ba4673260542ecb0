import HTTP
import NIOCore
import Synchronization

/// Neighbouring apps, joined to one piece of the response; immutable, shared by every snapshot in which nothing of it changed.
final class Chunk: Sendable {
    /// In order of name. Their expositions are slices of `content`, so that nothing is held twice.
    let apps: [StoredApp]
    /// All expositions, one after another, and their common deflate segment.
    let content: Exposition
    /// What answers cost that still send `content`.
    let leases: Leases
    /// The proxies whose metrics the apps hold.
    let instances: [String]
    /// What its apps count towards `max_total_size`, in bytes.
    let cost: Int
    /// How many of its apps count towards `max_apps`, without those that make room for others.
    let countedApps: Int
    /// What the self-metrics derive from the apps.
    let derived = Derived()

    /// The leases of the bytes of one `content`, as they are and compressed.
    struct Leases: Sendable {
        let plain = PieceLease(isStored: true)
        let compressed = PieceLease(isStored: true)
    }

    /// Joins the bytes; those of a single app stay where they are.
    convenience init(joining apps: [StoredApp]) {
        var size = 0
        var filled = 0
        var last: StoredApp?
        for app in apps where app.size > 0 {
            size += app.size
            filled += 1
            last = app
        }
        guard filled > 1 else {
            self.init(apps: apps, content: last?.entry.exposition ?? .empty)
            return
        }
        let joined = ByteBuffer.joining(apps.lazy.map(\.entry.exposition.buffer), size: size)
        var offset = 0
        let moved = apps.map { app in
            let size = app.size
            // An empty slice would keep the whole chunk in memory for nothing.
            guard size > 0, let slice = joined.getSlice(at: offset, length: size) else { return app }
            offset += size
            return app.with { $0.exposition = Exposition($0.exposition, movedTo: slice) }
        }
        self.init(apps: moved, content: Exposition(endingInNewline: joined))
    }

    /// - Parameter leases: those of the chunk that had the same content before.
    init(apps: [StoredApp], content: Exposition, leases: Leases = Leases()) {
        self.apps = apps
        self.content = content
        self.leases = leases
        instances = apps.flatMap(\.entry.exposition.instances)
        cost = apps.reduce(0) { $0 + $1.cost }
        countedApps = apps.count { $0.counts && !$0.isExpired }
    }
}

/// A place for what another part derives from a chunk or a snapshot: made once, and freed together with that.
final class Derived: Sendable {
    private let value = Mutex<(any AnyObject & Sendable)?>(nil)

    /// The value, made by the first caller while others wait for it. All callers ask for the same type.
    func value<Value: AnyObject & Sendable>(_ make: () -> Value) -> Value {
        value.withLock { value in
            if let known = value as? Value { return known }
            let made = make()
            value = made
            return made
        }
    }

    /// The value, if it is there or `make` makes it now; `nil` also while another thread makes it. Never waits.
    func valueIfQuick<Value: AnyObject & Sendable>(_ make: () -> Value?) -> Value? {
        value.withLockIfAvailable { value in
            if let known = value as? Value { return known }
            let made = make()
            if let made { value = made }
            return made
        } ?? nil
    }

    /// Whether the value is not there yet. Never waits.
    var isMissing: Bool { (value.withLockIfAvailable { $0 == nil }) ?? true }
}

/// The records that changed since the last snapshot, each once and in no order. Guarded by the store's state lock.
struct ChangedRecords {
    private var records: [AppRecord] = []

    var isEmpty: Bool { records.isEmpty }
    var count: Int { records.count }

    func contains(_ record: AppRecord) -> Bool { record.changedPlace != nil }

    mutating func insert(_ record: AppRecord) {
        guard record.changedPlace == nil else { return }
        record.changedPlace = records.count
        records.append(record)
    }

    /// Drops a record that left the store before any snapshot took it. Otherwise this list would grow with every app that comes and goes
    /// between two scrapes.
    mutating func forgetUnlessTaken(_ record: AppRecord) {
        guard !record.wasTaken, let place = record.changedPlace else { return }
        record.changedPlace = nil
        let last = records.removeLast()
        guard last !== record else { return }
        records[place] = last
        last.changedPlace = place
    }

    /// All of them, each as it is at this moment; none is left.
    mutating func take() -> [ChunkBuilder.Change] {
        defer { records.removeAll() }
        return records.map { record in
            record.changedPlace = nil
            record.wasTaken = true
            return (record: record, app: record.app)
        }
    }
}

/// Keeps all apps in order of name, cut into chunks. Only chunks with a changed app are rebuilt (and small neighbours that fit together).
struct ChunkBuilder {
    /// A heavier chunk is split, unless it is a single app.
    static let maxWeight = 256 << 10
    /// What a heavier chunk is split into: with room to grow and to shrink.
    static let splitWeight = 160 << 10
    /// A lighter chunk is joined with a neighbour where both fit into one.
    static let minWeight = 64 << 10
    /// Counted for each app beside its bytes, so that a chunk of empty apps stays small too.
    static let appWeight = 64

    /// In order of name.
    private(set) var nodes: [ChunkNode] = []
    /// The leases of contents that no chunk will have any more, during an update.
    private var replaced: [ObjectIdentifier: Chunk.Leases] = [:]

    /// An app that changed since the last update: its version, or `nil` when it was removed.
    typealias Change = (record: AppRecord, app: StoredApp?)

    /// A chunk to be: slots in order of name, all with an app.
    private struct Part {
        var slots: [ChunkNode.Slot]
        var weight: Int
        /// The node that stays as it is, or whose joined bytes may still be right.
        var node: ChunkNode?
        var isChanged: Bool
    }

    /// Takes the changes in and rebuilds what they concern.
    /// - Parameter publish: called with each new node as soon as its chunk is there, so that the bytes it replaces can go.
    /// - Returns: the leases of the contents that no chunk has any more.
    mutating func update(_ changes: consuming [Change], publish: (ChunkNode) -> Void) -> [Chunk.Leases] {
        place(changes)
        defer { replaced = [:] }
        var parts: [Part] = []
        parts.reserveCapacity(nodes.count)
        for node in nodes {
            guard node.isChanged else {
                push(Part(slots: [], weight: node.weight, node: node, isChanged: false), on: &parts)
                continue
            }
            replace(node.chunk)
            for part in cut(node) { push(part, on: &parts) }
        }
        // The old nodes would keep all their bytes until the end.
        nodes.removeAll(keepingCapacity: true)
        for index in parts.indices {
            if !parts[index].isChanged, let node = parts[index].node {
                nodes.append(node)
                continue
            }
            let node = build(parts[index])
            parts[index] = Part(slots: [], weight: 0, node: nil, isChanged: false)
            publish(node)
            nodes.append(node)
        }
        return Array(replaced.values)
    }

    private mutating func replace(_ chunk: Chunk) { replaced[ObjectIdentifier(chunk.leases.plain)] = chunk.leases }

    /// Writes the changes into their nodes' slots; new apps go to the node whose range their name falls into.
    private mutating func place(_ changes: consuming [Change]) {
        var added: [ChunkNode.Slot] = []
        for (record, app) in changes {
            if let node = record.node {
                node.slots[record.slot].app = app
                node.isChanged = true
            } else if app != nil {
                added.append(ChunkNode.Slot(record: record, app: app))
            }
        }
        guard !added.isEmpty else { return }
        added.sort { $0.record.name < $1.record.name }
        guard !nodes.isEmpty else {
            let node = ChunkNode(slots: [], chunk: Chunk(apps: [], content: .empty), weight: 0)
            node.additions = added
            node.isChanged = true
            nodes = [node]
            return
        }
        var current = 0
        for slot in added {
            current = lastNode(notAfter: slot.record.name, from: current)
            nodes[current].additions.append(slot)
            nodes[current].isChanged = true
        }
    }

    /// The last node, not before `start`, whose first name is not after `name`; `start` when there is none.
    private func lastNode(notAfter name: AppName, from start: Int) -> Int {
        var low = start
        var high = nodes.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if name < nodes[middle].slots[0].record.name { high = middle } else { low = middle }
        }
        return low
    }

    /// The changed node's apps, removed ones left out and new ones put in, as parts that are not too heavy.
    private func cut(_ node: ChunkNode) -> [Part] {
        var slots: [ChunkNode.Slot] = []
        slots.reserveCapacity(node.slots.count + node.additions.count)
        var next = 0
        for slot in node.slots where slot.app != nil {
            while next < node.additions.count, node.additions[next].record.name < slot.record.name {
                slots.append(node.additions[next])
                next += 1
            }
            slots.append(slot)
        }
        slots += node.additions[next...]
        // The parts keep the node for its chunk. The rest of it would keep all replaced bytes until the last part is built.
        node.slots = []
        node.additions = []
        guard !slots.isEmpty else { return [] }

        let total = slots.reduce(0) { $0 + ChunkBuilder.weight($1) }
        if total <= ChunkBuilder.maxWeight {
            return [Part(slots: slots, weight: total, node: node, isChanged: true)]
        }
        let count = (total + ChunkBuilder.splitWeight - 1) / ChunkBuilder.splitWeight
        let share = total / count
        // A large app that was alone in the node is so again, with the same bytes.
        let empty = Part(slots: [], weight: 0, node: node, isChanged: true)
        var parts: [Part] = []
        var part = empty
        for slot in slots {
            let weight = ChunkBuilder.weight(slot)
            if !part.slots.isEmpty, part.weight >= share || part.weight + weight > ChunkBuilder.maxWeight {
                parts.append(part)
                part = empty
            }
            part.slots.append(slot)
            part.weight += weight
        }
        parts.append(part)
        return parts
    }

    /// Appends the part, joined with those before it as long as one of both is light and they fit together.
    private mutating func push(_ part: Part, on parts: inout [Part]) {
        var part = part
        while let previous = parts.last, min(previous.weight, part.weight) < ChunkBuilder.minWeight,
            previous.weight + part.weight <= ChunkBuilder.maxWeight
        {
            parts.removeLast()
            for joined in [previous, part] where !joined.isChanged {
                if let node = joined.node { replace(node.chunk) }
            }
            let before = previous.isChanged ? previous.slots : previous.node?.slots ?? []
            let after = part.isChanged ? part.slots : part.node?.slots ?? []
            part = Part(slots: before + after, weight: previous.weight + part.weight, node: nil, isChanged: true)
        }
        parts.append(part)
    }

    private mutating func build(_ part: Part) -> ChunkNode {
        let apps = part.slots.compactMap(\.app)
        let chunk: Chunk
        if let old = part.node?.chunk, holdsSameBytes(old, apps) {
            // Only what is said about an app has changed: a failing target must not cost a copy.
            chunk = Chunk(apps: apps, content: old.content, leases: old.leases)
            replaced[ObjectIdentifier(old.leases.plain)] = nil
        } else {
            chunk = Chunk(joining: apps)
        }
        let slots = zip(part.slots, chunk.apps).map { ChunkNode.Slot(record: $0.record, app: $1) }
        return ChunkNode(slots: slots, chunk: chunk, weight: part.weight)
    }

    private func holdsSameBytes(_ chunk: Chunk, _ apps: [StoredApp]) -> Bool {
        chunk.apps.count == apps.count && zip(chunk.apps, apps).allSatisfy { $0.entry.exposition === $1.entry.exposition }
    }

    private static func weight(_ slot: ChunkNode.Slot) -> Int { (slot.app?.size ?? 0) + appWeight }
}

/// One chunk as the builder sees it. Guarded by the store's builder lock, like everything of `ChunkBuilder`.
final class ChunkNode {
    struct Slot {
        let record: AppRecord
        /// The version that the next snapshot shows; `nil` when the app has been removed.
        var app: StoredApp?
    }

    /// In order of name; never empty.
    var slots: [Slot]
    /// The chunk of these slots, as they were when it was built.
    let chunk: Chunk
    /// What the slots weigh together (`ChunkBuilder.weight`), when the chunk was built.
    let weight: Int
    /// New apps that belong here, in order of name.
    var additions: [Slot] = []
    var isChanged = false

    /// Places the records here.
    init(slots: [Slot], chunk: Chunk, weight: Int) {
        self.slots = slots
        self.chunk = chunk
        self.weight = weight
        for index in slots.indices {
            slots[index].record.node = self
            slots[index].record.slot = index
        }
    }
}
