import CSimdjson
import CText

/// Why text from outside is refused.
enum TextFault: Error {
    case invalidUTF8
    case nulByte
}

extension UnsafeRawBufferPointer {
    /// Whether the bytes are UTF-8.
    var isUTF8: Bool { isEmpty || csimdjson_validate_utf8(assumingMemoryBound(to: UInt8.self).baseAddress, count) }

    /// What is wrong with the bytes as text; `nil` when nothing is.
    var textFault: TextFault? { fault(seen: ctext_look(assumingMemoryBound(to: UInt8.self).baseAddress, count)) }

    fileprivate func fault(seen: UInt32) -> TextFault? {
        if seen & UInt32(ctext_not_ascii) != 0, !isUTF8 { return .invalidUTF8 }
        return seen & UInt32(ctext_nul) != 0 ? .nulByte : nil
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Copies `text`, for which there must be room, and checks it in the same pass.
    /// - Returns: what is wrong with it; it is copied in any case.
    func copyText(from text: UnsafeRawBufferPointer) -> TextFault? {
        precondition(count >= text.count)
        let source = text.assumingMemoryBound(to: UInt8.self).baseAddress
        return text.fault(seen: ctext_copy(assumingMemoryBound(to: UInt8.self).baseAddress, source, text.count))
    }
}
