import NIOCore
import Synchronization

/// The lines of neighbouring chunks, joined so that neither pieces nor compressed segments get too small.
final class AppLineGroup: Sendable {
    /// A group is closed once each of its runs of lines has at least this size.
    static let minSize = 32 << 10

    /// The chunks' lines, in order.
    let parts: [AppLines]
    let updates: Exposition
    let sizes: Exposition

    init(_ parts: [AppLines]) {
        self.parts = parts
        updates = Exposition(joining: parts.map(\.updates))
        sizes = Exposition(joining: parts.map(\.sizes))
    }

    /// Cuts all lines into groups, and takes as many of the earlier ones as still fit.
    static func groups(of lines: [AppLines], reusing earlier: [AppLineGroup]) -> [AppLineGroup] {
        let groups = cut(lines, reusing: earlier)
        // Many changes leave many short groups behind.
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
            // A short group is better than one that pushes all later ones out of place.
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

/// The groups of the last snapshot that was asked for its lines; shared by a store's snapshots.
final class LineGroups: Sendable {
    private let last = Mutex<[AppLineGroup]>([])

    /// The groups of these lines.
    func update(_ lines: [AppLines]) -> [AppLineGroup] {
        last.withLock { last in
            last = AppLineGroup.groups(of: lines, reusing: last)
            return last
        }
    }
}
