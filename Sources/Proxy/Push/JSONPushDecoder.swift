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
    /// Whether the input has always ended with an object so far.
    private var endsWithObject = true

    /// - Parameter maxMessageSize: bytes of an object from brace to brace; a larger one is refused as soon as that is certain.
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
        if !isInMessage {
            guard try beginMessage() else { return nil }
            if let push = try takeWholeInput() { return push }
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
        return try parse(buffer.takeMessage(endingAt: length))
    }

    /// As `PushDecoder` says.
    public mutating func finish() throws(Rejection) {
        guard !isInMessage, buffer.count == 0 else { throw .truncated }
    }

    // MARK: Between objects

    /// Skips white space (RFC 8259 §2). False when nothing else has come.
    private mutating func beginMessage() throws(Rejection) -> Bool {
        let (skipped, first) = buffer.input.withUnsafeReadableBytes { bytes -> (Int, UInt8?) in
            let index = bytes.firstIndex { !JSONPushDecoder.isSpace($0) }
            return (index ?? bytes.count, index.map { bytes[$0] })
        }
        buffer.skip(skipped)
        guard let first else { return false }
        guard first == UInt8(ascii: "{") else { throw JSONPushDecoder.rejection(ofFirst: first) }
        scanner = csimdjson_scanner()
        isInMessage = true
        return true
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    private static func rejection(ofFirst byte: UInt8) -> Rejection {
        switch byte {
        // A TLS record (RFC 8446 §5.1); a Cap'n Proto message of 23 segments is less likely.
        case 0x16:
            .malformedJSON("found what looks like a TLS handshake where an object should begin, but this receiver is not set up for TLS")
        // A segment table begins with a small little-endian number.
        case 0..<0x20: .wrongFormat(expected: .json)
        case 0xEF: .malformedJSON("found byte 0xef, perhaps of a byte order mark, where an object should begin: send UTF-8 without one")
        case 0x21..<0x7F:
            .malformedJSON("found '\(Character(UnicodeScalar(byte)))' where an object should begin with '{'")
        default: .malformedJSON("found byte 0x\(String(byte, radix: 16)) where an object should begin with '{'")
        }
    }

    // MARK: One object

    /// The push of an input that is one object and nothing else, as a connection for each push gives it: to look for the object's
    /// end first would cost as much as to parse it.
    /// - Returns: `nil` for any other input, of which nothing is taken. The parser judges no input twice: it is asked again only when it agreed.
    private mutating func takeWholeInput() throws(Rejection) -> Push? {
        guard endsWithObject else { return nil }
        let length = buffer.input.withUnsafeReadableBytes { bytes in
            bytes.lastIndex { !JSONPushDecoder.isSpace($0) }.map { bytes[$0] == UInt8(ascii: "}") ? $0 + 1 : 0 } ?? 0
        }
        guard length > 0, length <= limit, let parser = csimdjson_thread_parser() else { return nil }
        defer { csimdjson_finish(parser) }
        var message = buffer.input
        message.moveWriterIndex(to: message.readerIndex + length)
        guard parse(message, with: parser).status == csimdjson_ok else {
            endsWithObject = false
            return nil
        }
        scanner.saw_unicode_escape = message.withUnsafeReadableBytes { bytes in
            csimdjson_may_escape_unicode(bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count)
        }
        isInMessage = false
        buffer.skip(buffer.input.readableBytes)
        return try push(from: parser)
    }

    private func parse(
        _ message: ByteBuffer, with parser: OpaquePointer
    ) -> (status: csimdjson_status, reason: UnsafePointer<CChar>?) {
        var reason: UnsafePointer<CChar>?
        // All of the storage, not only what is readable: simdjson reads some bytes past the end of the object.
        let status = message.withVeryUnsafeBytes { storage in
            let start = message.readerIndex
            return csimdjson_parse(
                parser, storage.assumingMemoryBound(to: UInt8.self).baseAddress.map { $0 + start }, message.readableBytes,
                storage.count - start, &reason)
        }
        return (status, reason)
    }

    private func parse(_ message: ByteBuffer) throws(Rejection) -> Push {
        guard let parser = csimdjson_thread_parser() else { throw .malformedJSON("no memory is left to parse it") }
        defer { csimdjson_finish(parser) }
        let (status, reason) = parse(message, with: parser)
        switch status {
        case csimdjson_ok: return try push(from: parser)
        case csimdjson_invalid_utf8: throw .invalidUTF8(app: nil)
        case csimdjson_no_memory: throw .malformedJSON("no memory is left to parse it")
        default: throw .malformedJSON(reason.map { String(cString: $0) } ?? "the parser failed")
        }
    }

    private func push(from parser: OpaquePointer) throws(Rejection) -> Push {
        let count = csimdjson_count(parser)
        var apps: [(name: AppName, exposition: Exposition)] = []
        apps.reserveCapacity(count)
        var indices = RepeatedNames(expected: count)
        var app = csimdjson_app()
        while csimdjson_next(parser, &app) {
            let name = try name(of: app)
            guard app.value != csimdjson_value_wrong else { throw JSONPushDecoder.rejection(ofValueIn: app, name) }
            let exposition = try exposition(of: app, name, parser)
            if let index = indices.index(of: name, in: apps) {
                apps[index].exposition = exposition
            } else {
                apps.append((name, exposition))
            }
        }
        return Push(apps: apps)
    }

    private func name(of app: csimdjson_app) throws(Rejection) -> AppName {
        let bytes = UnsafeRawBufferPointer(start: app.name, count: app.name_length).assumingMemoryBound(to: UInt8.self)
        if scanner.saw_unicode_escape, !UnsafeRawBufferPointer(bytes).isUTF8 {
            throw .malformedJSON("an app name holds half of a surrogate pair")
        }
        guard let name = AppName(validUTF8: bytes) else {
            throw .invalidAppName(String(decoding: bytes.prefix(AppName.maxLength), as: UTF8.self))
        }
        return name
    }

    private func exposition(
        of app: csimdjson_app, _ name: AppName, _ parser: OpaquePointer
    ) throws(Rejection) -> Exposition {
        guard app.size > 0 else { return .empty }
        let buffer = ByteBuffer.exactly(app.size) {
            csimdjson_copy(parser, $0.assumingMemoryBound(to: UInt8.self).baseAddress)
        }
        // The parser has checked the text for UTF-8 and raw control characters; escapes can still make what it did not see.
        if scanner.saw_unicode_escape {
            switch buffer.withUnsafeReadableBytes({ $0.textFault }) {
            case .invalidUTF8:
                throw .malformedJSON("the metrics of app \(Rejection.quoted(name.description)) hold half of a surrogate pair")
            case .nulByte:
                throw .nulByte(app: name.description)
            case nil:
                break
            }
        }
        return Exposition(endingInNewline: buffer)
    }

    private static func rejection(ofValueIn app: csimdjson_app, _ name: AppName) -> Rejection {
        let found = app.found.map { String(cString: $0) } ?? "something else"
        let name = Rejection.quoted(name.description)
        guard app.element >= 0 else {
            return .malformedJSON("the metrics of app \(name) are \(found), but must be a string or an array of strings")
        }
        return .malformedJSON("line \(app.element + 1) of the metrics of app \(name) is \(found), but must be a string")
    }
}

/// Finds an app that the same object named before: by looking through few, by a table among many.
private struct RepeatedNames {
    private var table: [AppName: Int]?

    init(expected count: Int) {
        guard count > 16 else { return }
        table = Dictionary(minimumCapacity: count)
    }

    /// Where `name` stands; `nil` when it is new and about to be appended.
    mutating func index(of name: AppName, in apps: [(name: AppName, exposition: Exposition)]) -> Int? {
        guard table != nil else { return apps.firstIndex { $0.name == name } }
        if let index = table?[name] { return index }
        table?[name] = apps.count
        return nil
    }
}
