/// Parts of a text at ASCII delimiters, compared by bytes.
///
/// Swift's own `hasPrefix`, `contains` and `split` compare characters, and a delimiter makes one character with a combining mark
/// behind it: `/apps/` is then no prefix of a path, and a name with a colon seems to have none.
extension StringProtocol where SubSequence == Substring {
    /// Whether this ASCII character is in it.
    public func holds(_ delimiter: Unicode.Scalar) -> Bool { utf8.contains(UInt8(ascii: delimiter)) }

    /// Whether it begins with this ASCII character.
    public func begins(with delimiter: Unicode.Scalar) -> Bool { utf8.first == UInt8(ascii: delimiter) }

    /// What follows `prefix`, which is ASCII; `nil` when it begins with something else.
    public func after(_ prefix: String) -> Substring? {
        utf8.starts(with: prefix.utf8) ? self[utf8.index(startIndex, offsetBy: prefix.utf8.count)...] : nil
    }

    /// The parts between these ASCII characters, empty ones too.
    /// - Parameter most: the largest number of parts.
    public func parts(at delimiter: Unicode.Scalar, most: Int = .max) -> [Substring] {
        var parts: [Substring] = []
        var rest = self[...]
        while parts.count + 1 < most, let end = rest.utf8.firstIndex(of: UInt8(ascii: delimiter)) {
            parts.append(rest[..<end])
            rest = rest[rest.utf8.index(after: end)...]
        }
        return parts + [rest]
    }
}
