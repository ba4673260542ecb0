/// What an unknown key may have been meant to be.
enum KeySuggestion {
    /// `did you mean worker_threads?`, or `it belongs in [receiver]`; nil when nothing comes near.
    ///
    /// - Parameters:
    ///   - path: the dotted key of the table in which it was found; empty for the root.
    ///   - siblings: the keys known there.
    static func suggestion(for key: String, in path: String, siblings: [String]) -> String? {
        if let near = nearest(to: key, among: siblings) { return "did you mean \(near)?" }
        let homes = ConfigSchema.tables(having: key).map { $0.hasSuffix("[]") ? "[[\($0.dropLast(2))]]" : "[\($0)]" }
        guard !homes.isEmpty else { return nil }
        return "it belongs in \(ValueText.alternatives(homes))"
    }

    /// The candidate that `word` was most likely meant to be; nil when none comes near. Case, `-` and `_` do not count.
    static func nearest(to word: String, among candidates: [String]) -> String? {
        let letters = significant(word)
        guard !letters.isEmpty, letters.count <= 64 else { return nil }
        let ranked = candidates.map { (candidate: $0, distance: distance(letters, significant($0))) }
        if let best = ranked.min(by: { $0.distance < $1.distance }), best.distance <= max(1, min(3, letters.count / 4)) {
            return best.candidate
        }
        // `interval` for `poll_interval`: one whole end of exactly one candidate.
        let extended = candidates.filter { $0.hasSuffix("_" + word) || $0.hasPrefix(word + "_") }
        return extended.count == 1 ? extended.first : nil
    }

    private static func significant(_ word: String) -> [UInt8] {
        word.utf8.compactMap { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
            case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: " "), UInt8(ascii: "."): nil
            default: byte
            }
        }
    }

    /// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 1...a.count {
            var row = [i] + [Int](repeating: 0, count: b.count)
            for j in 1...b.count {
                row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { row[j] = min(row[j], beforeLast[j - 2] + 1) }
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
