import NIOCore

/// What the self-metrics say of one chunk's apps, ready to be sent: a run of lines for each of the two families.
final class AppLines: Sendable {
    let updates: ByteBuffer
    let sizes: ByteBuffer

    convenience init(of apps: [StoredApp]) {
        var updates = ExpositionWriter(capacity: 96 * apps.count)
        var sizes = ExpositionWriter(capacity: 64 * apps.count)
        for app in apps {
            let labels = ExpositionWriter.labels(("app", app.name.description))
            if let time = app.entry.lastUpdate?.time { updates.sample(.appLastUpdate, labels: labels, nanoseconds: time.nanoseconds) }
            sizes.sample(.appSize, labels: labels, app.size)
        }
        self.init(updates: updates.buffer, sizes: sizes.buffer)
    }

    init(updates: ByteBuffer, sizes: ByteBuffer) {
        self.updates = updates
        self.sizes = sizes
    }
}
