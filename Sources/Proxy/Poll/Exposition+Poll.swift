public import NIOCore

extension Exposition {
    /// The metrics of a complete body: checked, without a trailing `# EOF` line, ending in a newline (SPEC §6). An empty body has none.
    /// - Throws: `.invalidUTF8` or `.nulByte`.
    public init(polledBody body: consuming ByteBuffer) throws(PollFailure) {
        switch body.withUnsafeReadableBytes({ $0.textFault }) {
        case .invalidUTF8: throw .invalidUTF8
        case .nulByte: throw .nulByte
        case nil: break
        }
        let length = body.withUnsafeReadableBytes(Exposition.lengthWithoutEOFLine)
        body.moveWriterIndex(to: body.readerIndex + length)
        self.init(addingNewlineTo: body)
    }

    /// How many bytes there are before a last line that reads `# EOF`; all of them without one.
    private static func lengthWithoutEOFLine(_ bytes: UnsafeRawBufferPointer) -> Int {
        let mark = "# EOF".utf8
        var end = bytes.count
        if end > 0, bytes[end - 1] == UInt8(ascii: "\n") { end -= 1 }
        let start = end - mark.count
        guard start >= 0, bytes[start..<end].elementsEqual(mark) else { return bytes.count }
        guard start == 0 || bytes[start - 1] == UInt8(ascii: "\n") else { return bytes.count }
        return start
    }
}
