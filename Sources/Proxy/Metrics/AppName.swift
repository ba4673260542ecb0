import Glibc

/// The name of an app: 1–256 bytes of UTF-8 without control characters, compared byte by byte.
public struct AppName: Sendable, CustomStringConvertible {
    /// The longest name allowed, in bytes.
    public static let maxLength = 256

    /// The name; its UTF-8 is contiguous.
    public let description: String

    /// `nil` unless `text` is a valid name.
    public init?(_ text: String) {
        var text = text
        guard text.withUTF8({ AppName.isValid($0) }) else { return nil }
        self.description = text
    }

    /// `nil` unless `bytes`, already known to be UTF-8, are a valid name.
    init?(validUTF8 bytes: UnsafeBufferPointer<UInt8>) {
        guard AppName.isValid(bytes) else { return nil }
        self.description = String(decoding: bytes, as: UTF8.self)
    }

    private static func isValid(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        guard (1...maxLength).contains(bytes.count) else { return false }
        var previous: UInt8 = 0
        for byte in bytes {
            // U+0080…009F are C2 80 … C2 9F.
            if byte < 0x20 || byte == 0x7F || (previous == 0xC2 && byte < 0xA0) { return false }
            previous = byte
        }
        return true
    }

    private func withBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        if let result = description.utf8.withContiguousStorageIfAvailable(body) { return result }
        var copy = description
        return copy.withUTF8(body)
    }

    /// Less than, equal to or greater than 0, as `a` stands before, at or after `b`.
    private static func order(_ a: AppName, _ b: AppName) -> Int {
        a.withBytes { a in
            b.withBytes { b in
                guard let first = a.baseAddress, let second = b.baseAddress else { return a.count - b.count }
                let order = memcmp(first, second, min(a.count, b.count))
                return order == 0 ? a.count - b.count : Int(order)
            }
        }
    }
}

extension AppName: Hashable, Comparable {
    // String's own comparison is by canonical equivalence: "é" and "e\u{301}" would be one app.
    /// Byte by byte.
    public static func == (a: AppName, b: AppName) -> Bool { order(a, b) == 0 }

    /// By bytes, the shorter one first where one begins the other.
    public static func < (a: AppName, b: AppName) -> Bool { order(a, b) < 0 }

    /// Hashes the bytes.
    public func hash(into hasher: inout Hasher) {
        withBytes { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
