import Glibc

/// The lines of a head one after another, each without its end. A bare LF ends a line too (RFC 9112 §2.2).
struct HeadLines {
    private let raw: UnsafeRawBufferPointer
    private var position = 0

    init(_ raw: UnsafeRawBufferPointer) {
        self.raw = raw
    }

    /// The next line; `nil` after the last one.
    mutating func next() -> HeadText? {
        guard position < raw.count else { return nil }
        let end = HeadLines.lineFeed(in: raw, from: position) ?? raw.count
        defer { position = end + 1 }
        let line = raw[position..<end]
        return line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }

    /// Where the next LF is.
    static func lineFeed(in raw: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard start < raw.count, let base = raw.baseAddress, let found = memchr(base + start, 0x0A, raw.count - start) else { return nil }
        return UnsafeRawPointer(found) - base
    }
}
