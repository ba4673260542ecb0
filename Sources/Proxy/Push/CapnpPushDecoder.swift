import CCapnp
import NIOCore

/// A stream of Cap'n Proto messages in standard framing, unpacked, each a struct `InboundMetrics { appName @0 :Text; data @1 :Text; }`.
///
/// Framing (capnproto.org/encoding.html, "Serialization Over a Stream"): the number of segments less one, the size of each in
/// words, padding to a word, the segments.
struct CapnpPushDecoder: PushDecoder {
    /// The limit of segments, as in libcapnp.
    static let maxSegments = 512

    /// Bytes of a message with its segment table; a larger one is refused before it is buffered.
    var maxMessageSize: ByteCount
    private var buffer = MessageBuffer()
    /// The current message's size with its segment table; `nil` until the table is complete.
    private var messageSize: Int?
    /// Whether no message has begun yet. Only then can the bytes be another format.
    private var isAtStart = true

    init(maxMessageSize: ByteCount) { self.maxMessageSize = maxMessageSize }

    /// ByteBuffer counts in 32 bits.
    private var limit: Int { min(maxMessageSize.bytes, Int(Int32.max)) }

    var heldBytes: Int { buffer.heldBytes }

    var isWithinMessage: Bool { buffer.count > 0 }

    mutating func feed(_ input: ByteBuffer) { buffer.feed(input) }

    mutating func next() throws(Rejection) -> PushMessage? {
        if messageSize == nil { messageSize = try readSegmentTable() }
        guard let size = messageSize else { return nil }
        guard size <= limit else { throw .messageTooLarge(limit: ByteCount(limit)) }
        guard buffer.count >= size else {
            buffer.keep(buffer.input.readableBytes)
            return nil
        }
        messageSize = nil
        isAtStart = false
        let message = CapnpMessage(bytes: buffer.takeMessage(endingAt: size - buffer.beginning.readableBytes))
        guard size <= UndecodedPush.inlineLimit else { return .undecoded(UndecodedPush(content: .capnp(message))) }
        return .push(try message.decode())
    }

    mutating func finish() throws(Rejection) {
        guard buffer.count > 0 else { return }
        if messageSize == nil {
            if let rejection = rejectionOfForeign(beginning, isAll: true, onlyCertain: true) { throw rejection }
            _ = try parseSegmentTable(beginning, isAll: true)
        }
        throw .truncated
    }

    // MARK: Framing

    /// The received bytes of the current message.
    private var beginning: ByteBuffer { buffer.beginning.readableBytes > 0 ? buffer.beginning : buffer.input }

    /// The size of the message that begins here; `nil` when its table is not complete.
    private mutating func readSegmentTable() throws(Rejection) -> Int? {
        while true {
            let needed: Int
            switch try parseSegmentTable(beginning, isAll: false) {
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

    /// - Parameter isAll: whether no more bytes follow.
    private func parseSegmentTable(_ bytes: ByteBuffer, isAll: Bool) throws(Rejection) -> SegmentTable {
        func number(_ index: Int) -> Int? {
            bytes.getInteger(at: bytes.readerIndex + 4 * index, endianness: .little, as: UInt32.self).map(Int.init)
        }
        guard bytes.readableBytes >= 4, let last = number(0) else { return .incomplete(4) }
        let segments = last + 1
        guard segments <= Self.maxSegments else {
            // A few more bytes may show the format. They are refused in any case, for too many segments.
            let isEnough = isAll || bytes.readableBytes >= UnexpectedBeginning.longest
            guard let rejection = rejectionOfForeign(bytes, isAll: isEnough) else { return .incomplete(bytes.readableBytes + 1) }
            throw rejection
        }
        let tableSize = (4 + 4 * segments + 7) & ~7
        guard tableSize <= limit else { throw .messageTooLarge(limit: ByteCount(limit)) }
        guard bytes.readableBytes >= tableSize else { return .incomplete(tableSize) }
        var size = tableSize
        for segment in 1...segments {
            guard let words = number(segment) else { return .incomplete(tableSize) }
            size += 8 * words
        }
        return .messageSize(size)
    }

    /// Why bytes that do not begin a message are refused; `nil` when more bytes are needed to decide.
    /// - Parameter onlyCertain: whether to answer `nil` for bytes without a name, too.
    private func rejectionOfForeign(_ bytes: ByteBuffer, isAll: Bool, onlyCertain: Bool = false) -> Rejection? {
        // No byte after these counts, so that the reason does not depend on the pieces in which the bytes come.
        let view = bytes.readableBytesView.prefix(UnexpectedBeginning.longest)
        let segments = bytes.getInteger(at: bytes.readerIndex, endianness: .little, as: UInt32.self).map { Int($0) + 1 }
        let nameless = segments.map {
            Rejection.malformedCapnp(
                "its segment table announces \($0) segments, more than \(Self.maxSegments); send standard, unpacked framing")
        }
        guard isAtStart else { return onlyCertain ? nil : nameless }
        // JSON may begin with white space.
        let trimmed = view.drop { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }
        if trimmed.isEmpty, !isAll { return nil }
        switch UnexpectedBeginning.look(at: trimmed.first == UInt8(ascii: "{") ? trimmed : view, isAll: isAll) {
        case nil: return nil
        case .foreign(.capnp)?, .other?: return onlyCertain ? nil : nameless
        case let foreign?: return foreign.rejection(expected: .capnp)
        }
    }
}

/// One message in standard framing, complete.
struct CapnpMessage: Sendable {
    let bytes: ByteBuffer

    /// The most memory that `decode` takes beyond the message: an aligned copy, and the stored text.
    var decodingCost: Int { 2 * bytes.readableBytes }

    func decode() throws(Rejection) -> Push {
        let result = bytes.withUnsafeReadableBytes { bytes in
            // libcapnp reads whole words in place.
            if UInt(bitPattern: bytes.baseAddress) % 8 == 0 { return Self.read(bytes) }
            return withUnsafeTemporaryAllocation(byteCount: bytes.count, alignment: 8) { aligned in
                aligned.copyMemory(from: bytes)
                return Self.read(UnsafeRawBufferPointer(aligned))
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
