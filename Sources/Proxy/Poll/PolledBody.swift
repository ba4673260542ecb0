public import NIOCore
import Synchronization

/// One response's body, as it comes: collected within its own limit and within the budget of all polls, uncompressed and checked once it
/// is whole.
///
/// While it is collected, nothing is uncompressed and nothing is moved, so that each piece costs an event loop its copy and no more.
public struct PolledBody: Sendable {
    /// How the body is coded.
    public enum Coding: Equatable, Sendable {
        case identity
        case gzip
    }

    /// Bodies up to this size, uncompressed, are decoded on an event loop: a fraction of a millisecond. Larger ones are for a thread pool.
    public static let smallSize = 256 << 10
    /// The largest block that is allocated at once; a length that is only promised does not get more memory than this.
    private static let maxBlock = 1 << 20
    /// What a zipped body may have beyond the limit as it is sent: stored blocks and headers add a little, an endless row of empty blocks a lot.
    private static let zippedAllowance = 64 << 10
    /// What zlib allocates to uncompress: its state and a window of 32 KiB.
    private static let inflateState = 48 << 10
    /// Deflate compresses to no less than a 1032nd.
    private static let maxRatio = 1032

    private let coding: Coding
    private let limit: Int
    /// `Content-Length`, when there is one.
    public let expected: Int?
    /// Bytes that came, as they were sent.
    public private(set) var received = 0
    /// The first block, and what did not fit into it.
    private var first = ByteBuffer()
    private var rest: [ByteBuffer] = []
    private let reservation: Reservation
    /// The proxies whose metrics the body contains.
    private let instances: [String]

    /// - Parameters:
    ///   - expected: the length of the body as it is sent, if it is known.
    ///   - limit: the largest body, uncompressed.
    ///   - budget: for all bodies together, `poll_external.max_inflight_size`.
    ///   - instances: the proxies whose metrics the body contains.
    /// - Throws: `.bodyTooLarge` when the length already says so; a zipped body's length says nothing.
    public init(
        coding: Coding, expected: Int?, limit: ByteCount, budget: ByteBudget, instances: [String] = []
    ) throws(PollFailure) {
        self.coding = coding
        self.expected = expected
        self.limit = limit.bytes
        self.reservation = Reservation(budget)
        self.instances = instances
        if coding == .identity, let expected, expected > limit.bytes { throw .bodyTooLarge(limit: limit) }
    }

    /// Takes the next piece.
    /// - Throws: `.bodyTooLarge`, `.tooMuchInFlight`; the body is of no use then.
    public mutating func append(_ piece: consuming ByteBuffer) throws(PollFailure) {
        received += piece.readableBytes
        guard received - limit <= (coding == .gzip ? PolledBody.zippedAllowance : 0) else { throw .bodyTooLarge(limit: ByteCount(limit)) }
        if rest.isEmpty {
            if first.storageCapacity == 0 { first = try block(for: piece) }
            try fill(&first, from: &piece)
        }
        while piece.readableBytes > 0 {
            if rest.last?.writableBytes ?? 0 == 0 { rest.append(try block(for: piece)) }
            try fill(&rest[rest.count - 1], from: &piece)
        }
    }

    private func fill(_ block: inout ByteBuffer, from piece: inout ByteBuffer) throws(PollFailure) {
        guard let part = piece.readSlice(length: min(piece.readableBytes, block.writableBytes)) else { return }
        block.writeImmutableBuffer(part)
    }

    /// An empty block: what is still to come if that is known, else as much as came so far, and room for a final newline.
    private func block(for piece: ByteBuffer) throws(PollFailure) -> ByteBuffer {
        let awaited = expected.map { $0 - received + piece.readableBytes } ?? max(received, 4 << 10)
        let capacity = min(awaited + 1, PolledBody.maxBlock)
        try reservation.reserve(capacity)
        return .withExactCapacity(capacity)
    }

    // MARK: - Once it is whole

    /// The metrics: uncompressed, checked, without a trailing `# EOF` line, ending in a newline. An empty body has none.
    /// - Parameter refusingOtherFormats: whether what is plainly HTML or JSON is a failure.
    /// - Returns: `nil` when that would take an event loop too long; then `exposition` does the same.
    public func smallExposition(refusingOtherFormats: Bool) throws(PollFailure) -> Exposition? {
        switch coding {
        case .identity where received > PolledBody.smallSize: return nil
        case .identity: break
        case .gzip where received > PolledBody.smallSize / 4 || claimedSize > PolledBody.smallSize: return nil
        case .gzip: break
        }
        return try text(most: PolledBody.smallSize).map { text throws(PollFailure) in
            try exposition(of: text, refusingOtherFormats: refusingOtherFormats)
        }
    }

    /// As `smallExposition`, of any size: up to some milliseconds per MiB.
    public func exposition(refusingOtherFormats: Bool) throws(PollFailure) -> Exposition {
        guard let text = try text(most: .max) else { return .empty }
        return try exposition(of: text, refusingOtherFormats: refusingOtherFormats)
    }

    private func exposition(of text: consuming ByteBuffer, refusingOtherFormats: Bool) throws(PollFailure) -> Exposition {
        let exposition = try Exposition(polledBody: text, refusingOtherFormats: refusingOtherFormats)
        return instances.isEmpty ? exposition : exposition.containing(instances)
    }

    /// The body uncompressed, in one buffer; `nil` when it has more than `most` bytes.
    private func text(most: Int) throws(PollFailure) -> ByteBuffer? {
        if coding == .gzip { return try unzipped(most: most) }
        guard !rest.isEmpty else { return first }
        try reservation.reserve(received + 1)
        var text = ByteBuffer.withExactCapacity(received + 1)
        text.writeImmutableBuffer(first)
        for block in rest { text.writeImmutableBuffer(block) }
        return text
    }

    private func unzipped(most: Int) throws(PollFailure) -> ByteBuffer? {
        try reservation.reserve(PolledBody.inflateState)
        let gunzip = Gunzip(limit: limit)
        // One more for the newline that may be missing.
        var text = try buffer(of: min(max(min(claimedSize, received * PolledBody.maxRatio), 1 << 10), limit) + 1)
        for block in CollectionOfOne(first) + rest {
            var block = block
            while try !gunzip.step(&block, into: &text) {
                guard text.readableBytes <= most else { return nil }
                guard text.writableBytes == 0 else { continue }
                var larger = try buffer(of: min(2 * text.storageCapacity, limit + 1))
                larger.writeImmutableBuffer(text)
                reservation.release(text.storageCapacity)
                text = larger
            }
        }
        do throws(GunzipError) { try gunzip.finish() } catch { throw PollFailure(error) }
        return text
    }

    private func buffer(of capacity: Int) throws(PollFailure) -> ByteBuffer {
        try reservation.reserve(capacity)
        return .withExactCapacity(capacity)
    }

    /// What the last four bytes say of a gzip body's size uncompressed (RFC 1952 §2.3.1). It need not be true.
    private var claimedSize: Int {
        let last = CollectionOfOne(first) + rest.suffix(2)
        let bytes = last.flatMap { $0.readableBytesView.suffix(4) }.suffix(4)
        guard bytes.count == 4 else { return 0 }
        return bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
    }
}

extension Gunzip {
    /// Uncompresses as far as `text` has room. Returns whether all of `block` is taken, and uncompressed.
    fileprivate func step(_ block: inout ByteBuffer, into text: inout ByteBuffer) throws(PollFailure) -> Bool {
        do throws(GunzipError) {
            return try inflate(&block, into: &text, room: text.writableBytes)
        } catch {
            throw PollFailure(error)
        }
    }
}

extension PollFailure {
    fileprivate init(_ error: GunzipError) {
        switch error {
        case .tooLarge(let limit): self = .bodyTooLarge(limit: ByteCount(limit))
        case .truncated: self = .truncatedGzip
        case .corrupt: self = .corruptGzip("it is not gzip, or its check value is wrong")
        case .trailingGarbage: self = .corruptGzip("other bytes follow it")
        case .outOfMemory: self = .corruptGzip("no memory is left to uncompress it")
        }
    }
}

/// Bytes reserved in the budget of all polls, until the last reference is gone.
private final class Reservation: Sendable {
    private let budget: ByteBudget
    private let reserved = Atomic(0)

    init(_ budget: ByteBudget) { self.budget = budget }

    deinit { budget.release(reserved.load(ordering: .relaxed)) }

    func reserve(_ bytes: Int) throws(PollFailure) {
        guard budget.reserve(bytes) else { throw .tooMuchInFlight(limit: budget.limit) }
        reserved.add(bytes, ordering: .relaxed)
    }

    func release(_ bytes: Int) {
        reserved.subtract(bytes, ordering: .relaxed)
        budget.release(bytes)
    }
}

extension Exposition {
    /// The metrics of a complete body: checked, without a trailing `# EOF` line, ending in a newline. An empty body has none.
    /// - Parameter refusingOtherFormats: whether what is plainly HTML or JSON is a failure.
    /// - Throws: `.invalidUTF8`, `.nulByte` or `.otherFormat`.
    public init(polledBody body: consuming ByteBuffer, refusingOtherFormats: Bool = false) throws(PollFailure) {
        if refusingOtherFormats, let format = body.withUnsafeReadableBytes(OtherFormat.init(beginning:)) { throw .otherFormat(format) }
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

/// What a body plainly is instead of metrics.
public enum OtherFormat: String, Equatable, Sendable {
    case html = "HTML"
    case json = "JSON"

    /// - Parameter bytes: a body; only its first bytes are looked at.
    /// - Returns: `nil` for anything that could be metrics.
    init?(beginning bytes: UnsafeRawBufferPointer) {
        // Most bodies begin with a comment or a name.
        guard let first = bytes.first, first != UInt8(ascii: "#") else { return nil }
        let begin = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes[3...].prefix(256) : bytes.prefix(256)
        let text = begin.drop(while: OtherFormat.isBlank)
        guard let first = text.first else { return nil }
        let second = text.dropFirst().first { !OtherFormat.isBlank($0) }
        switch first {
        // No line of metrics begins with one of these.
        case UInt8(ascii: "<"): self = .html
        case UInt8(ascii: "["): self = .json
        // Braces without a name in them are no metrics. A name in quotation marks may stand there, {"name",label="value"} 1, but no colon
        // follows it.
        case UInt8(ascii: "{") where second == UInt8(ascii: "}"): self = .json
        case UInt8(ascii: "{") where second == UInt8(ascii: "\""):
            guard OtherFormat.isKey(text.dropFirst().drop(while: OtherFormat.isBlank).dropFirst()) else { return nil }
            self = .json
        default: return nil
        }
    }

    /// Whether a string that has begun ends within what is there, and a colon follows.
    private static func isKey(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
        var isEscaped = false
        guard
            let end = text.firstIndex(where: { byte in
                defer { isEscaped = !isEscaped && byte == UInt8(ascii: "\\") }
                return byte == UInt8(ascii: "\"") && !isEscaped
            })
        else { return false }
        return text[(end + 1)...].first { !isBlank($0) } == UInt8(ascii: ":")
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
