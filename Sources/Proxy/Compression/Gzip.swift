import CDeflate
public import NIOCore

/// One gzip member (RFC 1952) made of ready deflate segments, without compressing or copying.
public struct GzipMember: Sendable {
    /// The header and the segments, without the end.
    private var pieces: [ByteBuffer]
    private var size: Int
    private var crc: UInt32 = 0
    private var uncompressedSize = 0

    /// No name, no time; 255: unknown system (RFC 1952 §2.3.1).
    private static let header = ByteBuffer(bytes: [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])

    /// An empty member.
    public init() {
        self.pieces = [GzipMember.header]
        self.size = GzipMember.header.readableBytes
    }

    /// A member of these segments, one after another.
    public init(_ segments: some Sequence<DeflateSegment>) {
        self.init()
        for segment in segments { append(segment) }
    }

    /// Adds the bytes of `segment`.
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

/// Compressed bytes that can be joined with others in one gzip member: raw deflate (RFC 1951) that ends byte-aligned, without a final
/// block.
public struct DeflateSegment: Sendable {
    /// The compressed bytes; none for no bytes.
    public let bytes: ByteBuffer
    /// The size before compression, in bytes.
    public let uncompressedSize: Int
    /// CRC-32 of the uncompressed bytes.
    let crc: UInt32
    /// The operator that appends `crc` to the CRC of the bytes before. It depends only on `uncompressedSize`.
    let crcOperator: UInt32

    /// Compresses `buffer`'s readable bytes now, about 1 GB/s.
    public init(compressing buffer: ByteBuffer) { self = Deflater().segment(of: buffer) }

    init(bytes: ByteBuffer, uncompressedSize: Int, crc: UInt32) {
        self.bytes = bytes
        self.uncompressedSize = uncompressedSize
        self.crc = crc
        self.crcOperator = cdeflate_crc32_operator(UInt64(uncompressedSize))
    }
}

/// The working memory of compression, for any number of segments. It is large, so do not keep one.
final class Deflater {
    private let deflater = cdeflate_deflater_create()
    private var output: UnsafeMutableRawBufferPointer?

    deinit {
        cdeflate_deflater_destroy(deflater)
        output?.deallocate()
    }

    func segment(of buffer: ByteBuffer) -> DeflateSegment {
        buffer.withUnsafeReadableBytes { input in
            let bytes = input.assumingMemoryBound(to: UInt8.self)
            let compressed = bytes.isEmpty ? ByteBuffer() : compress(bytes)
            let crc = cdeflate_crc32(0, bytes.baseAddress, bytes.count)
            return DeflateSegment(bytes: compressed, uncompressedSize: bytes.count, crc: crc)
        }
    }

    private func compress(_ input: UnsafeBufferPointer<UInt8>) -> ByteBuffer {
        let output = room(for: cdeflate_capacity(input.count))
        var size = 0
        if let deflater { size = cdeflate_segment(deflater, input.baseAddress, input.count, output.baseAddress, output.count) }
        guard size > 0 else { return Deflater.stored(input) }
        return .exactly(size) { $0.copyMemory(from: UnsafeRawBufferPointer(start: output.baseAddress, count: size)) }
    }

    private func room(for capacity: Int) -> UnsafeMutableBufferPointer<UInt8> {
        if let output, output.count >= capacity { return output.assumingMemoryBound(to: UInt8.self) }
        output?.deallocate()
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 16)
        output = memory
        return memory.bindMemory(to: UInt8.self)
    }

    /// Stored blocks (RFC 1951 §3.2.4), for when there is no memory to compress. They are larger, but correct.
    static func stored(_ input: UnsafeBufferPointer<UInt8>) -> ByteBuffer {
        let most = Int(UInt16.max)
        let blocks = (input.count + most - 1) / most
        var result = ByteBuffer()
        result.reserveCapacity(input.count + 5 * blocks)
        for start in stride(from: 0, to: input.count, by: most) {
            let block = input[start..<min(start + most, input.count)]
            let length = UInt16(block.count)
            result.writeInteger(0 as UInt8)
            result.writeInteger(length, endianness: .little)
            result.writeInteger(~length, endianness: .little)
            result.writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(input)[start..<start + block.count]))
        }
        return result
    }
}
