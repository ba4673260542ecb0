/// Sizes as text: `64KiB`, `16MiB`. `KB`, `MB`, `GB` and `TB` are powers of 1024 too, as in Prometheus's `body_size_limit`.
enum ByteCountText {
    /// Why a text is no size.
    struct Malformed: Error {
        var reason: String
    }

    private static let units: [(name: String, shift: Int)] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)]
    private static let synonyms = ["TB": 40, "GB": 30, "MB": 20, "KB": 10]

    static func parse(_ text: String) throws(Malformed) -> Int {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let name = String(text.dropFirst(digits.count))
        guard !digits.isEmpty else { throw Malformed(reason: "a size begins with a number") }
        guard !name.isEmpty else { throw Malformed(reason: "the unit is missing; write \"\(digits)B\", or \(digits) without quotes") }
        guard !name.hasPrefix("."), !name.hasPrefix(",") else {
            throw Malformed(reason: "fractions are written in a smaller unit, such as \"1536KiB\"")
        }
        guard let shift = units.first(where: { $0.name == name })?.shift ?? synonyms[name] else {
            throw Malformed(reason: hint(digits: digits, name: name))
        }
        guard let number = Int(digits), number <= Int.max >> shift else { throw Malformed(reason: "the number is too large") }
        return number << shift
    }

    private static func hint(digits: Substring, name: String) -> String {
        // `64k`, `64 KiB`, `64kib`.
        let letter = name.lowercased().first { $0 != " " }
        if let letter, let unit = units.first(where: { $0.name.lowercased().first == letter }) {
            return "did you mean \"\(digits)\(unit.name)\"?"
        }
        return "the units are B, KiB, MiB, GiB and TiB"
    }

    /// The shortest exact text of `size`: `64MiB`.
    static func text(_ size: ByteCount) -> String {
        let unit = units.first { size.bytes > 0 && size.bytes % (1 << $0.shift) == 0 } ?? ("B", 0)
        return "\(size.bytes >> unit.shift)\(unit.name)"
    }
}
