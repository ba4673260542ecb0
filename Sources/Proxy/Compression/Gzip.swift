import CDeflate
public import NIOCore

/// One gzip member (RFC 1952) put together from ready-made deflate segments: nothing is compressed or copied here.
public struct GzipMember: Sendable {
    /// The header and the segments, without the end.
    private var pieces: [ByteBuffer]
    private var size: Int
    private var crc: UInt32 = 0
    private var uncompressedSize = 0

    /// No name, no time; 255: unknown system (RFC 1952 §2.3.1).
    private static let header = ByteBuffer(bytes: [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])

    /// A member of no bytes.
    public init() {
        self.pieces = [GzipMember.header]
        self.size = GzipMember.header.readableBytes
    }

    /// A member of these segments, one after another.
    public init(_ segments: some Sequence<DeflateSegment>) {
        self.init()
        for segment in segments { append(segment) }
    }

    /// Adds the bytes that `segment` holds.
    public mutating func append(_ segment: DeflateSegment) {
        guard segment.uncompressedSize > 0 else { return }
        pieces.append(segment.bytes)
        size += segment.bytes.readableBytes
        crc = cdeflate_crc32_append(crc, segment.crc, segment.crcOperator)
        uncompressedSize += segment.uncompressedSize
    }

    /// The whole member, ready to be sent; `size` in bytes.
    public func finished() -> (pieces: [ByteBuffer], size: Int) {
        var end = ByteBuffer()
        // An empty final block, then CRC-32 and the size modulo 2³².
        end.writeInteger(0x0300 as UInt16)
        end.writeInteger(crc, endianness: .little)
        end.writeInteger(UInt32(truncatingIfNeeded: uncompressedSize), endianness: .little)
        return (pieces + [end], size + end.readableBytes)
    }
}

/// gzip in one go.
public enum Gzip {
    /// `buffer`'s readable bytes as one gzip member.
    public static func compress(_ buffer: ByteBuffer) -> ByteBuffer {
        let (pieces, size) = GzipMember(CollectionOfOne(DeflateSegment(compressing: buffer))).finished()
        var result = ByteBuffer()
        result.reserveCapacity(size)
        for piece in pieces { result.writeImmutableBuffer(piece) }
        return result
    }
}
