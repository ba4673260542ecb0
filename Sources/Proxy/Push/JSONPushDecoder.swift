import CSimdjson
public import NIOCore

/// A stream of JSON objects, each of which maps app names to metrics: a string, or an array of strings that are joined by newlines.
///
/// An empty string or array, and an array of one empty string, are no metrics at all; a final newline is added where it is missing.
public struct JSONPushDecoder: PushDecoder {
    private let limit: Int
    private var buffer = MessageBuffer()
    /// Where `buffer.input` continues an object that `buffer.beginning` begins.
    private var scanner = csimdjson_scanner()
    private var isInMessage = false
    /// Whether no object has begun yet: only then can the bytes be something else altogether.
    private var isAtStart = true
    /// Whether the input has always ended with an object so far.
    private var endsWithObject = true

    /// - Parameter maxMessageSize: bytes of an object from brace to brace; a larger one is refused as soon as that is certain.
    public init(maxMessageSize: ByteCount) {
        // ByteBuffer counts in 32 bits.
        self.limit = min(maxMessageSize.bytes, Int(Int32.max))
    }

    /// As `PushDecoder` says.
    public var heldBytes: Int { buffer.heldBytes }

    /// As `PushDecoder` says.
    public var isWithinMessage: Bool { isInMessage || buffer.count > 0 }

    /// As `PushDecoder` says.
    public mutating func feed(_ input: ByteBuffer) { buffer.feed(input) }

    /// As `PushDecoder` says.
    public mutating func next() throws(Rejection) -> PushMessage? {
        if !isInMessage {
            guard try beginMessage() else { return nil }
            if let message = try takeWholeInput() { return message }
        }
        var isComplete = false
        let length = buffer.input.withUnsafeReadableBytes { bytes in
            csimdjson_scan(&scanner, bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count, &isComplete)
        }
        guard buffer.beginning.readableBytes + length <= limit else { throw .messageTooLarge(limit: ByteCount(limit)) }
        guard isComplete else {
            buffer.keep(length)
            return nil
        }
        isInMessage = false
        let message = JSONMessage(bytes: buffer.takeMessage(endingAt: length), scanner)
        guard message.isSmall else { return .undecoded(UndecodedPush(content: .json(message))) }
        return .push(try message.decode(maxApps: .max))
    }

    /// As `PushDecoder` says.
    public mutating func finish() throws(Rejection) {
        guard !isInMessage else { throw .truncated }
        guard buffer.count > 0 else { return }
        throw rejectionOfInput(isAll: true) ?? .truncated
    }

    // MARK: Between objects

    /// Skips white space (RFC 8259 §2). False when nothing else has come, or too little to tell what it is.
    private mutating func beginMessage() throws(Rejection) -> Bool {
        let (skipped, first) = buffer.input.withUnsafeReadableBytes { bytes -> (Int, UInt8?) in
            let index = bytes.firstIndex { !JSONPushDecoder.isSpace($0) }
            return (index ?? bytes.count, index.map { bytes[$0] })
        }
        buffer.skip(skipped)
        guard let first else { return false }
        guard first == UInt8(ascii: "{") else {
            if let rejection = rejectionOfInput(isAll: false) { throw rejection }
            return false
        }
        scanner = csimdjson_scanner()
        isInMessage = true
        isAtStart = false
        return true
    }

    /// Why the input, which is no object, is refused; `nil` when more bytes are needed to tell.
    private func rejectionOfInput(isAll: Bool) -> Rejection? {
        if isAtStart { return UnexpectedBeginning.look(at: buffer.input.readableBytesView, isAll: isAll)?.rejection(expected: .json) }
        return buffer.input.readableBytesView.first.map {
            .malformedJSON("found \(UnexpectedBeginning.shown($0)) after an object: only another object or white space may follow it")
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    /// The message of an input that is one object and nothing else, as a connection for each push gives it: to look for the object's
    /// end first would cost as much as to parse it.
    /// - Returns: `nil` for any other input, of which nothing is taken. The parser judges no input twice: it is asked again only when it agreed.
    private mutating func takeWholeInput() throws(Rejection) -> PushMessage? {
        guard endsWithObject, buffer.input.readableBytes <= UndecodedPush.minSize else { return nil }
        let length = buffer.input.withUnsafeReadableBytes { bytes in
            bytes.lastIndex { !JSONPushDecoder.isSpace($0) }.map { bytes[$0] == UInt8(ascii: "}") ? $0 + 1 : 0 } ?? 0
        }
        guard length > 0, length <= limit else { return nil }
        var bytes = buffer.input
        bytes.moveWriterIndex(to: bytes.readerIndex + length)
        let message = JSONMessage(bytes: bytes)
        guard let parsed = message.parseIfValid() else {
            endsWithObject = false
            return nil
        }
        isInMessage = false
        buffer.skip(buffer.input.readableBytes)
        switch parsed {
        case .push(let push): return .push(push)
        case .manyNames: return .undecoded(UndecodedPush(content: .json(message)))
        case .rejected(let rejection): throw rejection
        }
    }
}
