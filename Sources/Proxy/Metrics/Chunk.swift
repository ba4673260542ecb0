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
        let joined = ByteBuffer.exactly(size) { destination in
            var offset = 0
            for app in apps {
                app.entry.exposition.buffer.withUnsafeReadableBytes { bytes in
                    UnsafeMutableRawBufferPointer(rebasing: destination[offset...]).copyMemory(from: bytes)
                }
                offset += app.size
            }
        }
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
