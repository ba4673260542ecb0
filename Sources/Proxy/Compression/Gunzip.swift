import CDeflate
public import NIOCore

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
