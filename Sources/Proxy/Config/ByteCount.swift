/// A size in bytes.
public struct ByteCount: Hashable, Comparable, Sendable {
    /// The number of bytes, never negative.
    public let bytes: Int

    /// A number of bytes.
    public init(_ bytes: Int) {
        precondition(bytes >= 0, "a size is never negative")
        self.bytes = bytes
    }

    /// `n` × 1024 bytes.
    public static func kibibytes(_ n: Int) -> ByteCount { ByteCount(n << 10) }
    /// `n` × 1024² bytes.
    public static func mebibytes(_ n: Int) -> ByteCount { ByteCount(n << 20) }
    /// `n` × 1024³ bytes.
    public static func gibibytes(_ n: Int) -> ByteCount { ByteCount(n << 30) }

    /// By number.
    public static func < (a: ByteCount, b: ByteCount) -> Bool { a.bytes < b.bytes }
}
