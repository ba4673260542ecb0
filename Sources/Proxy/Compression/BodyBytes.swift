import CDeflate
public import NIOCore
import Synchronization

/// The body of one HTTP message: collected within its own limit and the budget of all bodies, then uncompressed when it is complete.
///
/// While it is collected, nothing is uncompressed or moved, so each piece costs an event loop only its copy.
public struct BodyBytes: Sendable {
    /// The coding of the body.
    public enum Coding: Equatable, Sendable {
        case identity
        case gzip
    }

    /// Why a body cannot be used.
    public enum Fault: Error, Equatable, Sendable {
        /// More than `limit` uncompressed.
        case tooLarge(limit: ByteCount)
        /// More than `limit` of all bodies together.
        case tooMuchInFlight(limit: ByteCount)
        /// A fault of the gzip data; never `.tooLarge`.
        case gzip(GunzipError)
    }

    /// Bodies up to this uncompressed size are decoded, checked and labelled on an event loop: as for pushes, because labels make many
    /// times as much of short lines. Larger ones need a thread pool.
    public static let smallSize = 64 << 10
    /// The largest block that is allocated at once, also if the announced length is larger.
    private static let maxBlock = 1 << 20
    /// What a body takes at first. It is part of what its connection takes, so that a small body is taken even when large ones have used up
    /// the budget.
    static let firstBytes = 16 << 10
    /// How much a compressed body may exceed the limit: stored blocks and headers add a little; an endless series of empty blocks exceeds
    /// it.
    private static let zippedAllowance = 64 << 10
    /// The memory that zlib needs to uncompress: its state and a window of 32 KiB.
    private static let inflateState = 48 << 10
    /// The highest compression ratio of deflate.
    static let maxRatio = 1032

    private let coding: Coding
    private let limit: Int
    /// `Content-Length`, when there is one.
    public let expected: Int?
    /// The received bytes, before uncompressing.
    public private(set) var received = 0
    /// The first block, and the bytes that did not fit into it.
    private var first = ByteBuffer()
    private var rest: [ByteBuffer] = []
    /// How much of the last block is reserved.
    private var covered = 0
    private let reservation: Reservation

    /// - Parameters:
    ///   - expected: the length of the body as it is sent, if it is known.
    ///   - limit: the largest body, uncompressed.
    ///   - budget: for all bodies together. What the body takes is released when the last copy of this value is gone.
    /// - Throws: `.tooLarge` when the length is already too large. The length of a compressed body does not count.
    public init(coding: Coding, expected: Int?, limit: ByteCount, budget: ByteBudget) throws(Fault) {
        self.coding = coding
        self.expected = expected
        // ByteBuffer counts in 32 bits, and the whole body with a final newline must fit into one.
        self.limit = min(limit.bytes, Int(Int32.max))
        self.reservation = Reservation(budget)
        if coding == .identity, let expected, expected > self.limit { throw .tooLarge(limit: limit) }
    }

    /// The largest size uncompressed, as far as the received bytes say.
    var mostUncompressed: Int { min(coding == .gzip ? received * Self.maxRatio : received, limit) }

    /// The limit of the budget, in bytes.
    var budgetLimit: Int { reservation.limit }

    /// Adds the next piece.
    /// - Throws: `.tooLarge`, `.tooMuchInFlight`; the body cannot be used then.
    public mutating func append(_ piece: consuming ByteBuffer) throws(Fault) {
        received += piece.readableBytes
        guard received - limit <= (coding == .gzip ? BodyBytes.zippedAllowance : 0) else { throw .tooLarge(limit: ByteCount(limit)) }
        if rest.isEmpty {
            if first.storageCapacity == 0 { first = block(for: piece) }
            try cover(first, and: piece)
            BodyBytes.fill(&first, from: &piece)
        }
        while piece.readableBytes > 0 {
            if rest.last?.writableBytes ?? 0 == 0 { rest.append(block(for: piece)) }
            try cover(rest[rest.count - 1], and: piece)
            BodyBytes.fill(&rest[rest.count - 1], from: &piece)
        }
    }

    private static func fill(_ block: inout ByteBuffer, from piece: inout ByteBuffer) {
        guard let part = piece.readSlice(length: min(piece.readableBytes, block.writableBytes)) else { return }
        block.writeImmutableBuffer(part)
    }

    /// An empty block for the remaining bytes if their number is known, else for as many as were received, and a final newline.
    private mutating func block(for piece: ByteBuffer) -> ByteBuffer {
        let awaited = expected.map { $0 - received + piece.readableBytes } ?? max(received, 4 << 10)
        covered = 0
        return .withExactCapacity(min(awaited + 1, BodyBytes.maxBlock))
    }

    /// Reserves what a block takes after a piece is added. The system gives memory only to the pages that are written, and an announced
    /// length costs its sender nothing: so the whole block is not reserved at once.
    private mutating func cover(_ block: borrowing ByteBuffer, and piece: borrowing ByteBuffer) throws(Fault) {
        let capacity = block.storageCapacity
        let needed = min(capacity, block.writerIndex + piece.readableBytes)
        guard needed > covered else { return }
        // In steps, so that small pieces do not reserve one by one. Near the limit there may be no room for a step.
        do { try cover(to: min(capacity, needed + BodyBytes.firstBytes)) } catch { try cover(to: needed) }
    }

    private mutating func cover(to end: Int) throws(Fault) {
        let first = rest.isEmpty ? max(0, min(end, BodyBytes.firstBytes) - covered) : 0
        try reservation.reserve(end - covered - first)
        reservation.add(first)
        covered = end
    }

    // MARK: - Once it is whole

    /// The body uncompressed, in one buffer. A plain body that was received is never refused: to join its blocks takes its size once more.
    /// That is counted beyond the limit, too, because few bodies are joined at the same time.
    /// - Parameters:
    ///   - most: the largest body to read; with `.max` any body is read.
    ///   - isReserved: whether the caller has reserved the memory that this takes, so that it cannot fail for want of room.
    /// - Returns: `nil` when it has more bytes than `most`, or may have.
    public func whole(most: Int, isReserved: Bool = false) throws(Fault) -> ByteBuffer? {
        switch coding {
        case .identity where received > most: return nil
        case .identity: return joined(isReserved: isReserved)
        case .gzip where most < .max && (received > most / 4 || claimedSize > most): return nil
        case .gzip: return try unzipped(most: most, isReserved: isReserved)
        }
    }

    private func joined(isReserved: Bool) -> ByteBuffer {
        guard !rest.isEmpty else { return first }
        if !isReserved { reservation.add(received + 1) }
        var text = ByteBuffer.withExactCapacity(received + 1)
        text.writeImmutableBuffer(first)
        for block in rest { text.writeImmutableBuffer(block) }
        return text
    }

    private func unzipped(most: Int, isReserved: Bool) throws(Fault) -> ByteBuffer? {
        func reserve(_ bytes: Int) throws(Fault) {
            if isReserved { return }
            // An event loop reads one small body at a time, so that takes little, whatever the others have reserved.
            if most == .max { try reservation.reserve(bytes) } else { reservation.add(bytes) }
        }
        func buffer(of capacity: Int) throws(Fault) -> ByteBuffer {
            try reserve(capacity)
            return .withExactCapacity(capacity)
        }
        try reserve(BodyBytes.inflateState)
        let gunzip = Gunzip(limit: limit)
        // One more byte for a missing final newline.
        var text = try buffer(of: min(max(min(claimedSize, received * BodyBytes.maxRatio), 1 << 10), limit) + 1)
        for block in CollectionOfOne(first) + rest {
            var block = block
            while try !gunzip.step(&block, into: &text) {
                guard text.readableBytes <= most else { return nil }
                guard text.writableBytes == 0 else { continue }
                var larger = try buffer(of: min(2 * text.storageCapacity, limit + 1))
                larger.writeImmutableBuffer(text)
                if !isReserved { reservation.release(text.storageCapacity) }
                text = larger
            }
        }
        do throws(GunzipError) { try gunzip.finish() } catch { throw .gzip(error) }
        return text
    }

    /// The uncompressed size in the last four bytes of a gzip body (RFC 1952 §2.3.1). It may be wrong.
    private var claimedSize: Int {
        let last = CollectionOfOne(first) + rest.suffix(2)
        let bytes = last.flatMap { $0.readableBytesView.suffix(4) }.suffix(4)
        guard bytes.count == 4 else { return 0 }
        return bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
    }
}

extension Gunzip {
    /// Uncompresses as far as `text` has room. Returns whether all of `block` is uncompressed.
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

    var limit: Int { budget.limit.bytes }

    func add(_ bytes: Int) {
        budget.add(bytes)
        reserved.add(bytes, ordering: .relaxed)
    }

    func reserve(_ bytes: Int) throws(BodyBytes.Fault) {
        guard budget.reserve(bytes) else { throw .tooMuchInFlight(limit: budget.limit) }
        reserved.add(bytes, ordering: .relaxed)
    }

    func release(_ bytes: Int) {
        reserved.subtract(bytes, ordering: .relaxed)
        budget.release(bytes)
    }
}

/// Why a gzip body was refused.
public enum GunzipError: Error, Equatable, Sendable, CustomStringConvertible {
    /// More than `limit` bytes uncompressed.
    case tooLarge(limit: Int)
    /// Not gzip, or its check value is wrong.
    case corrupt
    /// The body ended within a member, or before the first.
    case truncated
    /// Bytes that are not gzip follow the last member.
    case trailingGarbage
    case outOfMemory

    /// What is wrong, for the log.
    public var description: String {
        switch self {
        case .tooLarge(let limit): "the body is larger than \(limit) bytes uncompressed"
        case .corrupt: "the body is not valid gzip"
        case .truncated: "the gzip body is cut short"
        case .trailingGarbage: "the gzip body is followed by other bytes"
        case .outOfMemory: "no memory is left to uncompress the body"
        }
    }
}

/// Uncompresses a gzip body that comes in pieces, up to a limit. Only one thread at a time may use it.
public final class Gunzip {
    private let inflater = cdeflate_inflater_create()
    private let limit: Int
    private var total = 0
    private var state = State.beforeFirstMember
    private var isOutputFull = false

    private enum State {
        case beforeFirstMember
        case inMember
        case betweenMembers
    }

    /// - Parameter limit: the largest uncompressed body, in bytes.
    public init(limit: Int) {
        self.limit = max(0, limit)
    }

    deinit { cdeflate_inflater_destroy(inflater) }

    /// Appends the uncompressed `input` to `output`.
    /// - Throws: the object must not be used again after an error; `output` then does not exceed the limit.
    public func inflate(_ input: ByteBuffer, into output: inout ByteBuffer) throws(GunzipError) {
        var input = input
        while try !inflate(&input, into: &output, room: max(16 << 10, 4 * input.readableBytes)) {}
    }

    /// Appends at most `room` bytes of the uncompressed `input` to `output`, and moves the reader index past the consumed bytes.
    /// - Returns: whether all of `input` is consumed and all its uncompressed bytes are in `output`.
    /// - Throws: the object must not be used again after an error; `output` then does not exceed the limit.
    public func inflate(_ input: inout ByteBuffer, into output: inout ByteBuffer, room: Int) throws(GunzipError) -> Bool {
        guard let inflater else { throw .outOfMemory }
        // After all input is consumed, zlib may still hold output.
        guard input.readableBytes > 0 || (isOutputFull && state == .inMember) else { return true }
        if input.readableBytes > 0 { try beginMember(with: input, inflater) }
        // One byte beyond the limit, to distinguish "full" from "too large".
        let room = min(room, limit - total + 1)
        let (status, used, written) = Gunzip.step(inflater, input, &output, room: room)
        input.moveReaderIndex(forwardBy: used)
        total += written
        guard total <= limit else {
            output.moveWriterIndex(to: output.writerIndex - (total - limit))
            throw .tooLarge(limit: limit)
        }
        isOutputFull = written == room
        switch status {
        case cdeflate_member_end: state = .betweenMembers
        case cdeflate_no_memory: throw .outOfMemory
        case cdeflate_more where used > 0 || written > 0 || input.readableBytes == 0: break
        default: throw .corrupt
        }
        return input.readableBytes == 0 && !(isOutputFull && state == .inMember)
    }

    /// Call at the end of the body.
    public func finish() throws(GunzipError) {
        guard state == .betweenMembers else { throw .truncated }
    }

    private func beginMember(with input: ByteBuffer, _ inflater: OpaquePointer) throws(GunzipError) {
        switch state {
        case .inMember: return
        case .beforeFirstMember: break
        case .betweenMembers:
            guard input.getInteger(at: input.readerIndex, as: UInt8.self) == 0x1F else { throw .trailingGarbage }
            cdeflate_inflater_reset(inflater)
        }
        state = .inMember
    }

    private static func step(
        _ inflater: OpaquePointer, _ input: ByteBuffer, _ output: inout ByteBuffer, room: Int
    ) -> (status: cdeflate_status, used: Int, written: Int) {
        var used = 0
        var status = cdeflate_more
        let written = output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { destination in
            var written = 0
            status = input.withUnsafeReadableBytes { source in
                cdeflate_inflate(
                    inflater, source.assumingMemoryBound(to: UInt8.self).baseAddress, source.count, &used,
                    destination.assumingMemoryBound(to: UInt8.self).baseAddress, room, &written)
            }
            return written
        }
        return (status, used, written)
    }
}
