import CSimdjson
import NIOCore

/// A stream of JSON objects. Each maps app names to metrics: a string, or an array of strings that are joined by newlines.
///
/// An empty string or array, and an array of one empty string, are no metrics at all; a final newline is added where it is missing.
struct JSONPushDecoder: PushDecoder {
    /// Bytes of an object from brace to brace.
    var maxMessageSize: ByteCount
    private var buffer = MessageBuffer()
    /// Where `buffer.input` continues an object that `buffer.beginning` begins.
    private var scanner = csimdjson_scanner()
    private var isInMessage = false
    /// Whether no object has begun yet: only then can the bytes be something else altogether.
    private var isAtStart = true
    /// Whether the input has always ended with an object so far.
    private var endsWithObject = true

    init(maxMessageSize: ByteCount) { self.maxMessageSize = maxMessageSize }

    /// ByteBuffer counts in 32 bits.
    private var limit: Int { min(maxMessageSize.bytes, Int(Int32.max)) }

    var heldBytes: Int { buffer.heldBytes }

    var isWithinMessage: Bool {
        isInMessage || buffer.input.withUnsafeReadableBytes { bytes in bytes.contains { !JSONPushDecoder.isSpace($0) } }
    }

    mutating func feed(_ input: ByteBuffer) { buffer.feed(input) }

    mutating func next() throws(Rejection) -> PushMessage? {
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

    mutating func finish() throws(Rejection) {
        guard !isInMessage else { throw .truncated }
        guard isWithinMessage else { return }
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

    /// Why the input, which is not an object, is refused; `nil` when more bytes are needed to tell.
    private func rejectionOfInput(isAll: Bool) -> Rejection? {
        if isAtStart { return UnexpectedBeginning.look(at: buffer.input.readableBytesView, isAll: isAll)?.rejection(expected: .json) }
        return buffer.input.readableBytesView.first.map {
            .malformedJSON("found \(UnexpectedBeginning.shown($0)) after an object: only another object or white space may follow it")
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    /// Decodes an input that is exactly one object, as a connection for each push sends it, without looking for the object's end first:
    /// that would cost as much as parsing.
    /// - Returns: `nil` for other input, which stays in the buffer. After one failure it is not tried again, so no input is parsed twice.
    private mutating func takeWholeInput() throws(Rejection) -> PushMessage? {
        guard endsWithObject, buffer.input.readableBytes <= UndecodedPush.inlineLimit else { return nil }
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

/// One JSON object, complete, from brace to brace.
struct JSONMessage: Sendable {
    /// An object with more app names takes too long for one turn of an event loop.
    private static let maxSmallNames = 1000

    let bytes: ByteBuffer
    /// Whether a string may contain a NUL or half of a surrogate pair, which only escapes can make.
    private let mayEscapeUnicode: Bool
    /// Upper limits for the number of strings, with the names of apps, and of separators and brackets outside of strings.
    private let strings: Int
    private let names: Int
    private let separators: Int

    /// An object that was found by scanning.
    init(bytes: ByteBuffer, _ scanner: csimdjson_scanner) {
        self.bytes = bytes
        mayEscapeUnicode = scanner.saw_unicode_escape
        strings = Int(scanner.quotes / 2)
        names = Int(scanner.colons)
        separators = Int(scanner.separators)
    }

    /// An object that was not scanned.
    init(bytes: ByteBuffer) {
        self.bytes = bytes
        mayEscapeUnicode = bytes.withUnsafeReadableBytes { bytes in
            csimdjson_may_escape_unicode(bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count)
        }
        // `"",` and `"":"",` are the shortest.
        strings = bytes.readableBytes / 2
        names = bytes.readableBytes / 5
        separators = bytes.readableBytes
    }

    /// Whether it may be decoded on an event loop.
    var isSmall: Bool { bytes.readableBytes <= UndecodedPush.inlineLimit && names <= Self.maxSmallNames }

    /// The most memory that `decode` takes beyond the message.
    func decodingCost(maxApps: Int) -> Int {
        // Each value follows a separator or a bracket. A value that is not a string is a number, a word or a pair of brackets.
        let others = max(0, separators + names - strings) + 2
        // The parser's index of structural characters, its tape (one word for a string, two for any other value), and its copy of the
        // strings; then the stored strings, and for each app its name and the objects around it.
        let index = 4 * (strings + names + separators + 2 * others)
        let tape = 8 * (strings + 2 * others)
        let texts = 2 * bytes.readableBytes + 8 * strings
        return index + tape + texts + 384 * min(maxApps, names) + 64 << 10
    }

    // MARK: Decoding

    /// The result for an object that the parser accepts.
    enum Parsed {
        case push(Push)
        /// It has too many apps for an event loop.
        case manyNames
        case rejected(Rejection)
    }

    /// - Returns: `nil` when the parser refuses the object.
    func parseIfValid() -> Parsed? {
        guard let parser = csimdjson_thread_parser(), parse(with: parser).status == csimdjson_ok else { return nil }
        guard csimdjson_count(parser) <= Self.maxSmallNames else { return .manyNames }
        do throws(Rejection) {
            return .push(try push(from: parser, maxApps: .max))
        } catch {
            return .rejected(error)
        }
    }

    /// - Parameter maxApps: decoding ends with `.tooManyApps` as soon as there are more.
    func decode(maxApps: Int) throws(Rejection) -> Push {
        // The thread keeps its parser, so it must stay small.
        guard bytes.readableBytes > UndecodedPush.inlineLimit else {
            guard let parser = csimdjson_thread_parser() else { throw Self.noMemory }
            return try decode(with: parser, maxApps: maxApps)
        }
        guard let parser = csimdjson_new_parser() else { throw Self.noMemory }
        defer { csimdjson_free_parser(parser) }
        return try decode(with: parser, maxApps: maxApps)
    }

    private func decode(with parser: OpaquePointer, maxApps: Int) throws(Rejection) -> Push {
        let (status, reason) = parse(with: parser)
        switch status {
        case csimdjson_ok: return try push(from: parser, maxApps: maxApps)
        case csimdjson_invalid_utf8: throw .invalidUTF8(app: nil)
        case csimdjson_no_memory: throw Self.noMemory
        default:
            let fault = bytes.withUnsafeReadableBytes { JSONFault.find(in: $0) }
            throw .malformedJSON(fault ?? reason.map { String(cString: $0) } ?? "the parser failed")
        }
    }

    private static let noMemory = Rejection.malformedJSON("no memory is left to parse it")

    private func parse(with parser: OpaquePointer) -> (status: csimdjson_status, reason: UnsafePointer<CChar>?) {
        var reason: UnsafePointer<CChar>?
        // The whole storage, not only the readable bytes, because simdjson reads some bytes past the end of the object.
        let status = bytes.withVeryUnsafeBytes { storage in
            let start = bytes.readerIndex
            return csimdjson_parse(
                parser, storage.assumingMemoryBound(to: UInt8.self).baseAddress.map { $0 + start }, bytes.readableBytes,
                storage.count - start, &reason)
        }
        return (status, reason)
    }

    private func push(from parser: OpaquePointer, maxApps: Int) throws(Rejection) -> Push {
        let count = min(csimdjson_count(parser), maxApps)
        var apps: [(name: AppName, exposition: Exposition)] = []
        apps.reserveCapacity(count)
        var indices = RepeatedNames(expected: count)
        var app = csimdjson_app()
        while csimdjson_next(parser, &app) {
            let name = try name(of: app)
            guard app.value != csimdjson_value_wrong else { throw JSONMessage.rejection(ofValueIn: app, name) }
            let exposition = try exposition(of: app, name, parser)
            if let index = indices.index(of: name, in: apps) {
                apps[index].exposition = exposition
            } else {
                guard apps.count < maxApps else { throw .tooManyApps(limit: maxApps) }
                apps.append((name, exposition))
            }
        }
        return Push(apps: apps)
    }

    private func name(of app: csimdjson_app) throws(Rejection) -> AppName {
        let bytes = UnsafeRawBufferPointer(start: app.name, count: app.name_length).assumingMemoryBound(to: UInt8.self)
        if mayEscapeUnicode, !UnsafeRawBufferPointer(bytes).isUTF8 {
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
        // The parser has checked the text for UTF-8 and raw control characters. Escapes can still make invalid characters.
        if mayEscapeUnicode {
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

/// Finds an app that the same object has named before: by a linear search among few, by a table among many.
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
