import TOML

/// How messages show values of the file.
enum ValueText {
    /// `the integer 5`, `the string "abc"`, `an array`. A secret is only `a string` or `an integer`: a password may be a number.
    static func describe(_ value: TOMLNode.Value, isSecret: Bool = false) -> String {
        switch value {
        case .table: "a table"
        case .array: "an array"
        case .string(let text): isSecret ? "a string" : "the string \(quoted(text))"
        case .integer(let number): isSecret ? "an integer" : "the integer \(number)"
        case .float(let number): isSecret ? "a float" : "the float \(number)"
        case .boolean(let flag): isSecret ? "a boolean" : "the boolean \(flag)"
        case .datetime(let text): isSecret ? "a date or time" : "the date or time \(text)"
        }
    }

    /// Whether `text` has the form of a key, so that a message may show it. Anything else may be a secret in the wrong place.
    ///
    /// - Parameter strictly: in tables that hold secrets, only small letters and `_` make a key.
    static func looksLikeKey(_ text: String, strictly: Bool = false) -> Bool {
        guard !text.isEmpty, text.utf8.count <= 40 else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"): true
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): !strictly
            default: false
            }
        }
    }

    /// `text` without the user and password of a URL, or of a text that may be one.
    static func withoutCredentials(_ text: String) -> String {
        // The last @, because a password without percent-encoding may contain an @ or a slash.
        guard let at = text.utf8.lastIndex(of: UInt8(ascii: "@")) else { return text }
        let front = text[..<at]
        let scheme = front.utf8.firstRange(of: "://".utf8).map { front[..<$0.upperBound] } ?? ""
        // An e-mail address has no colon in front of the @.
        guard !scheme.isEmpty || front.utf8.contains(UInt8(ascii: ":")) else { return text }
        return "\(scheme)***\(text[at...])"
    }

    /// `text` in quotes, printable, not too long, and without the user and password of a URL.
    static func quoted(_ text: String) -> String { "\"\(printable(withoutCredentials(text)))\"" }

    /// `text` on one line, and cut if it is long. Control characters are escaped as in TOML (not as in `PrintableText`), so that the text can
    /// be found in the file.
    static func printable(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars.prefix(maxLength) {
            switch scalar.value {
            case 0..<0x20, 0x7F...0x9F, 0x2028, 0x2029: result += "\\u" + hexadecimal(scalar.value)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return text.unicodeScalars.count > maxLength ? result + "…" : result
    }

    /// `["a", "b"]`.
    static func array(_ words: [String]) -> String { "[\(words.map(quoted).joined(separator: ", "))]" }

    /// `a, b or c`.
    static func alternatives(_ words: [String]) -> String { joined(words, "or") }

    /// `a, b and c`.
    static func list(_ words: [String]) -> String { joined(words, "and") }

    private static func joined(_ words: [String], _ conjunction: String) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " \(conjunction) " + last
    }

    /// Whether `text` contains a control character, U+0000–001F or 007F–009F.
    static func hasControl(_ text: String) -> Bool {
        text.unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }
    }

    private static let maxLength = 200

    private static func hexadecimal(_ value: UInt32) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}

/// Suggestions for unknown keys.
enum KeySuggestion {
    /// `did you mean worker_threads?`, or `it belongs in [receiver]`; `nil` without a similar key.
    ///
    /// - Parameters:
    ///   - path: the dotted key of the table in which it was found; empty for the root.
    ///   - siblings: the keys of that table.
    static func suggestion(for key: String, in path: String, siblings: [String]) -> String? {
        if let near = nearest(to: key, among: siblings) { return "did you mean \(near)?" }
        let homes = ConfigSchema.tables(having: key).map { $0.hasSuffix("[]") ? "[[\($0.dropLast(2))]]" : "[\($0)]" }
        guard !homes.isEmpty else { return nil }
        return "it belongs in \(ValueText.alternatives(homes))"
    }

    /// The candidate that is most similar to `word`; `nil` when none is similar. Case, `-` and `_` do not count.
    static func nearest(to word: String, among candidates: [String]) -> String? {
        let letters = significant(word)
        guard !letters.isEmpty, letters.count <= 64 else { return nil }
        let limit = max(1, min(3, letters.count / 4))
        let ranked = candidates.map { (candidate: $0, letters: significant($0)) }
            // The distance is never less than the difference in length.
            .filter { abs($0.letters.count - letters.count) <= limit }
            .map { (candidate: $0.candidate, distance: distance(letters, $0.letters)) }
        if let best = ranked.min(by: { $0.distance < $1.distance }), best.distance <= limit { return best.candidate }
        // `interval` for `poll_interval`: the beginning or the end of exactly one candidate.
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
