import CSimdjson
import Glibc

extension UnsafeRawBufferPointer {
    /// Whether the bytes are UTF-8.
    var isUTF8: Bool { isEmpty || csimdjson_validate_utf8(assumingMemoryBound(to: UInt8.self).baseAddress, count) }

    /// Whether one of the bytes is 0.
    var holdsNUL: Bool { baseAddress.map { memchr($0, 0, count) != nil } ?? false }
}
