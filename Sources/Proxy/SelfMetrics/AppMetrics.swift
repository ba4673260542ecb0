import NIOCore

/// What the self-metrics say of a snapshot's apps; made once for it.
struct AppMetrics: Sendable {
    /// In order; the two families one after the other.
    let expositions: [Exposition]

    /// In bytes.
    var size: Int { expositions.reduce(0) { $0 + $1.size } }

    init(groups: [AppLineGroup], apps: Int, bytes: Int) {
        var totals = ExpositionWriter(capacity: 512)
        totals.single(.apps, apps)
        totals.single(.storedBytes, bytes)
        guard !groups.isEmpty else {
            expositions = [Exposition(endingInNewline: totals.buffer)]
            return
        }
        totals.begin(.appLastUpdate)
        if groups.count == 1 {
            // Small: one piece, and compressed together.
            let parts = [totals.buffer, groups[0].updates.buffer, AppMetrics.sizesHeader.buffer, groups[0].sizes.buffer]
            expositions = [Exposition(joining: parts)]
        } else {
            let head = Exposition(endingInNewline: totals.buffer)
            expositions = [head] + groups.map(\.updates) + [AppMetrics.sizesHeader] + groups.map(\.sizes)
        }
    }

    private static let sizesHeader: Exposition = {
        var writer = ExpositionWriter(capacity: 256)
        writer.begin(.appSize)
        return Exposition(endingInNewline: writer.buffer)
    }()
}

extension Exposition {
    /// The bytes of all, one after another.
    init(joining parts: [ByteBuffer]) {
        guard parts.count > 1 else {
            self.init(endingInNewline: parts.first ?? ByteBuffer())
            return
        }
        let buffer = ByteBuffer.exactly(parts.reduce(0) { $0 + $1.readableBytes }) { destination in
            var offset = 0
            for part in parts {
                part.withUnsafeReadableBytes { bytes in
                    UnsafeMutableRawBufferPointer(rebasing: destination[offset...]).copyMemory(from: bytes)
                }
                offset += part.readableBytes
            }
        }
        self.init(endingInNewline: buffer)
    }
}
