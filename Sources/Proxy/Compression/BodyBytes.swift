public import NIOCore
import Synchronization

/// The body of one message of HTTP, as it comes: collected within its own limit and within the budget of all bodies, uncompressed once it
/// is whole.
///
/// While it is collected, nothing is uncompressed and nothing is moved, so that each piece costs an event loop its copy and no more.
public struct BodyBytes: Sendable {
    /// How the body is coded.
    public enum Coding: Equatable, Sendable {
        case identity
        case gzip
    }

    /// Why a body is of no use.
    public enum Fault: Error, Equatable, Sendable {
        /// More than `limit` uncompressed.
        case tooLarge(limit: ByteCount)
        /// More than `limit` of all bodies together.
        case tooMuchInFlight(limit: ByteCount)
        /// What is sent as gzip is not; never `.tooLarge`.
        case gzip(GunzipError)
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

    /// - Parameters:
    ///   - expected: the length of the body as it is sent, if it is known.
    ///   - limit: the largest body, uncompressed.
    ///   - budget: for all bodies together. What the body takes is released when the last copy of this value is gone.
    /// - Throws: `.tooLarge` when the length already says so; a zipped body's length says nothing.
    public init(coding: Coding, expected: Int?, limit: ByteCount, budget: ByteBudget) throws(Fault) {
        self.coding = coding
        self.expected = expected
        // ByteBuffer counts in 32 bits, and the whole body with a final newline has to fit into one.
        self.limit = min(limit.bytes, Int(Int32.max))
        self.reservation = Reservation(budget)
        if coding == .identity, let expected, expected > self.limit { throw .tooLarge(limit: limit) }
    }

    /// Takes the next piece.
    /// - Throws: `.tooLarge`, `.tooMuchInFlight`; the body is of no use then.
    public mutating func append(_ piece: consuming ByteBuffer) throws(Fault) {
        received += piece.readableBytes
        guard received - limit <= (coding == .gzip ? BodyBytes.zippedAllowance : 0) else { throw .tooLarge(limit: ByteCount(limit)) }
        if rest.isEmpty {
            if first.storageCapacity == 0 { first = try block(for: piece) }
            fill(&first, from: &piece)
        }
        while piece.readableBytes > 0 {
            if rest.last?.writableBytes ?? 0 == 0 { rest.append(try block(for: piece)) }
            fill(&rest[rest.count - 1], from: &piece)
        }
    }

    private func fill(_ block: inout ByteBuffer, from piece: inout ByteBuffer) {
        guard let part = piece.readSlice(length: min(piece.readableBytes, block.writableBytes)) else { return }
        block.writeImmutableBuffer(part)
    }

    /// An empty block: what is still to come if that is known, else as much as came so far, and room for a final newline.
    private func block(for piece: ByteBuffer) throws(Fault) -> ByteBuffer {
        let awaited = expected.map { $0 - received + piece.readableBytes } ?? max(received, 4 << 10)
        let capacity = min(awaited + 1, BodyBytes.maxBlock)
        try reservation.reserve(capacity)
        return .withExactCapacity(capacity)
    }

    // MARK: - Once it is whole

    /// The body uncompressed, in one buffer.
    /// - Parameter most: the work that is worth while: with `.max` the whole body is read, whatever its size.
    /// - Returns: `nil` when it has more bytes than `most`, or may have.
    public func whole(most: Int) throws(Fault) -> ByteBuffer? {
        switch coding {
        case .identity where received > most: return nil
        case .identity: return try joined()
        case .gzip where most < .max && (received > most / 4 || claimedSize > most): return nil
        case .gzip: return try unzipped(most: most)
        }
    }

    private func joined() throws(Fault) -> ByteBuffer {
        guard !rest.isEmpty else { return first }
        try reservation.reserve(received + 1)
        var text = ByteBuffer.withExactCapacity(received + 1)
        text.writeImmutableBuffer(first)
        for block in rest { text.writeImmutableBuffer(block) }
        return text
    }

    private func unzipped(most: Int) throws(Fault) -> ByteBuffer? {
        try reservation.reserve(BodyBytes.inflateState)
        let gunzip = Gunzip(limit: limit)
        // One more for the newline that may be missing.
        var text = try buffer(of: min(max(min(claimedSize, received * BodyBytes.maxRatio), 1 << 10), limit) + 1)
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
        do throws(GunzipError) { try gunzip.finish() } catch { throw .gzip(error) }
        return text
    }

    private func buffer(of capacity: Int) throws(Fault) -> ByteBuffer {
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
    fileprivate func step(_ block: inout ByteBuffer, into text: inout ByteBuffer) throws(BodyBytes.Fault) -> Bool {
        do throws(GunzipError) {
            return try inflate(&block, into: &text, room: text.writableBytes)
        } catch {
            if case .tooLarge(let limit) = error { throw .tooLarge(limit: ByteCount(limit)) }
            throw .gzip(error)
        }
    }
}

/// Bytes reserved in the budget of all bodies, until the last reference is gone.
private final class Reservation: Sendable {
    private let budget: ByteBudget
    private let reserved = Atomic(0)

    init(_ budget: ByteBudget) { self.budget = budget }

    deinit { budget.release(reserved.load(ordering: .relaxed)) }

    func reserve(_ bytes: Int) throws(BodyBytes.Fault) {
        guard budget.reserve(bytes) else { throw .tooMuchInFlight(limit: budget.limit) }
        reserved.add(bytes, ordering: .relaxed)
    }

    func release(_ bytes: Int) {
        reserved.subtract(bytes, ordering: .relaxed)
        budget.release(bytes)
    }
}
