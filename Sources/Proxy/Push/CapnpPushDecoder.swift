import CCapnp
public import NIOCore

/// A stream of Cap'n Proto messages in standard framing, unpacked, each a struct `InboundMetrics { appName @0 :Text; data @1 :Text; }`.
///
/// Framing (capnproto.org/encoding.html, "Serialization Over a Stream"): the number of segments less one, the size of each in
/// words, padding to a word, the segments.
public struct CapnpPushDecoder: PushDecoder {
    /// More segments are refused, as libcapnp does.
    public static let maxSegments = 512

    private let limit: Int
    private var buffer = MessageBuffer()
    /// The current message's size, segment table included, once the table is there.
    private var messageSize: Int?

    /// - Parameter maxMessageSize: bytes of a message, segment table included; a larger one is refused before it is buffered.
    public init(maxMessageSize: ByteCount) {
        // ByteBuffer counts in 32 bits.
        self.limit = min(maxMessageSize.bytes, Int(Int32.max))
    }

    /// As `PushDecoder` says.
    public var bufferedBytes: Int { buffer.count }

    /// As `PushDecoder` says.
    public mutating func feed(_ input: ByteBuffer) { buffer.feed(input) }

    /// As `PushDecoder` says.
    public mutating func next() throws(Rejection) -> Push? {
        if messageSize == nil { messageSize = try readSegmentTable() }
        guard let size = messageSize else { return nil }
        guard buffer.count >= size else {
            buffer.keep(buffer.input.readableBytes)
            return nil
        }
        messageSize = nil
        return try read(buffer.takeMessage(endingAt: size - buffer.beginning.readableBytes))
    }

    /// As `PushDecoder` says.
    public mutating func finish() throws(Rejection) {
        guard buffer.count > 0 else { return }
        if messageSize == nil, CapnpPushDecoder.looksLikeText(buffer.beginning) { throw .wrongFormat(expected: .capnp) }
        throw .truncated
    }

    // MARK: Framing

    /// The size of the message that begins here; `nil` when its table is not complete.
    private mutating func readSegmentTable() throws(Rejection) -> Int? {
        while true {
            let needed: Int
            switch try CapnpPushDecoder.parseSegmentTable(buffer.beginning.readableBytes > 0 ? buffer.beginning : buffer.input, limit) {
            case .messageSize(let size): return size
            case .incomplete(let size): needed = size
            }
            guard buffer.input.readableBytes > 0 else { return nil }
            buffer.keep(min(needed - buffer.beginning.readableBytes, buffer.input.readableBytes))
        }
    }

    private enum SegmentTable {
        case messageSize(Int)
        /// Look again with this many bytes.
        case incomplete(Int)
    }

    private static func parseSegmentTable(_ bytes: ByteBuffer, _ limit: Int) throws(Rejection) -> SegmentTable {
        func number(_ index: Int) -> Int? {
            bytes.getInteger(at: bytes.readerIndex + 4 * index, endianness: .little, as: UInt32.self).map(Int.init)
        }
        guard bytes.readableBytes >= 4, let last = number(0) else { return .incomplete(4) }
        let segments = last + 1
        guard segments <= maxSegments else {
            if looksLikeText(bytes) { throw .wrongFormat(expected: .capnp) }
            throw .malformedCapnp("its segment table tells of \(segments) segments, more than \(maxSegments); \(hint(bytes))")
        }
        let tableSize = (4 + 4 * segments + 7) & ~7
        guard tableSize <= limit else { throw .messageTooLarge(limit: ByteCount(limit)) }
        guard bytes.readableBytes >= tableSize else { return .incomplete(tableSize) }
        var size = tableSize
        for segment in 1...segments {
            guard let words = number(segment) else { return .incomplete(tableSize) }
            size += 8 * words
        }
        guard size <= limit else { throw .messageTooLarge(limit: ByteCount(limit)) }
        return .messageSize(size)
    }

    /// Whether JSON begins here: a brace, or nothing but white space so far.
    private static func looksLikeText(_ bytes: ByteBuffer) -> Bool {
        let first = bytes.readableBytesView.prefix(4).first { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 }
        return first == nil || first == UInt8(ascii: "{")
    }

    private static func hint(_ bytes: ByteBuffer) -> String {
        // A TLS record begins so (RFC 8446 §5.1).
        if bytes.getInteger(at: bytes.readerIndex, as: UInt16.self) == 0x1603 {
            return "it looks like a TLS handshake, but this receiver is not set up for TLS"
        }
        return "send standard, unpacked framing"
    }

    // MARK: One message

    private func read(_ message: ByteBuffer) throws(Rejection) -> Push {
        let result = message.withUnsafeReadableBytes { bytes in
            // libcapnp reads whole words where they stand.
            if UInt(bitPattern: bytes.baseAddress) % 8 == 0 { return CapnpPushDecoder.read(bytes) }
            return withUnsafeTemporaryAllocation(byteCount: bytes.count, alignment: 8) { aligned in
                aligned.copyMemory(from: bytes)
                return CapnpPushDecoder.read(UnsafeRawBufferPointer(aligned))
            }
        }
        return try result.get()
    }

    private static func read(_ bytes: UnsafeRawBufferPointer) -> Result<Push, Rejection> {
        var message = ccapnp_inbound_metrics()
        let failure = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { reason -> String? in
            let bytes = bytes.assumingMemoryBound(to: UInt8.self)
            guard !ccapnp_read(bytes.baseAddress, bytes.count, &message, reason.baseAddress, reason.count) else { return nil }
            return reason.baseAddress.map { String(cString: $0) } ?? ""
        }
        if let failure { return .failure(.malformedCapnp(failure)) }
        return push(name: message.app_name, data: message.data)
    }

    private static func push(name: ccapnp_text, data: ccapnp_text) -> Result<Push, Rejection> {
        let nameBytes = UnsafeBufferPointer(start: name.bytes, count: name.length)
        guard UnsafeRawBufferPointer(nameBytes).isUTF8 else { return .failure(.invalidUTF8(app: nil)) }
        guard let name = AppName(validUTF8: nameBytes) else {
            return .failure(.invalidAppName(String(decoding: nameBytes.prefix(AppName.maxLength), as: UTF8.self)))
        }
        let metrics = UnsafeRawBufferPointer(start: data.bytes, count: data.length)
        do throws(TextFault) {
            return .success(Push(apps: [(name, try Exposition(copyingText: metrics))]))
        } catch {
            switch error {
            case .invalidUTF8: return .failure(.invalidUTF8(app: name.description))
            case .nulByte: return .failure(.nulByte(app: name.description))
            }
        }
    }
}
