import Glibc
@_spi(CustomByteBufferAllocator) public import NIOCore

extension ByteBuffer {
    /// A buffer of exactly `size` bytes, all of which `fill` must write.
    ///
    /// The standard allocator rounds up to a power of two, which would waste up to half of the memory of stored metrics.
    static func exactly(_ size: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) -> ByteBuffer {
        // malloc, because the default allocator frees with free().
        guard size > 0, let bytes = malloc(size) else { return ByteBuffer(repeating: 0, count: size, filledBy: fill) }
        let memory = UnsafeMutableRawBufferPointer(start: bytes, count: size)
        fill(memory)
        return ByteBuffer(takingOwnershipOf: memory, allocator: ByteBufferAllocator())
    }

    /// An empty buffer with room for exactly `capacity` bytes. It grows like any other when more is written.
    public static func withExactCapacity(_ capacity: Int) -> ByteBuffer {
        guard capacity > 0, let bytes = malloc(capacity) else { return ByteBuffer() }
        var buffer = ByteBuffer(
            takingOwnershipOf: UnsafeMutableRawBufferPointer(start: bytes, count: capacity), allocator: ByteBufferAllocator())
        buffer.clear()
        return buffer
    }

    private init(repeating byte: UInt8, count: Int, filledBy fill: (UnsafeMutableRawBufferPointer) -> Void) {
        self.init(repeating: byte, count: count)
        withUnsafeMutableReadableBytes(fill)
    }
}
