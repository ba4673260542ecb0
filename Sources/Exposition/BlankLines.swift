/// Lines of nothing but spaces and tabs. They mean nothing, but Prometheus before 3.14 takes memory of its stack for each one of a row, and
/// a few million in a row end its process.
public enum BlankLines {
    /// The most blank lines in a row that a valid text has.
    public static let most = 10_000

    /// Whether the text has no other lines.
    public static func areAll(of text: UnsafeRawBufferPointer) -> Bool {
        text.allSatisfy { $0 == UInt8(ascii: "\n") || Text.isBlank($0) }
    }
}
