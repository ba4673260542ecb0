import NIOCore
import Synchronization

/// Neighbouring apps, joined to one piece of the response; immutable, shared by every snapshot in which nothing of it changed.
final class Chunk: Sendable {
    /// In order of name. Their expositions are slices of `content`, so that nothing is held twice.
    let apps: [StoredApp]
    /// All expositions, one after another, and their common deflate segment.
    let content: Exposition
    /// See `lines`; made when first asked for.
    private let madeLines = Mutex<AppLines?>(nil)

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
            // An empty slice would keep the whole chunk alive for nothing.
            guard size > 0, let slice = joined.getSlice(at: offset, length: size) else { return app }
            offset += size
            return app.with { $0.exposition = Exposition($0.exposition, movedTo: slice) }
        }
        self.init(apps: moved, content: Exposition(endingInNewline: joined))
    }

    /// What the self-metrics say of these apps.
    var lines: AppLines {
        madeLines.withLock { lines in
            if let lines { return lines }
            let made = AppLines(of: apps)
            lines = made
            return made
        }
    }

    /// Apps whose lines are yet to be made.
    var appsWithoutLines: Int { madeLines.withLock { $0 == nil } ? apps.count : 0 }

    init(apps: [StoredApp], content: Exposition) {
        self.apps = apps
        self.content = content
    }
}
