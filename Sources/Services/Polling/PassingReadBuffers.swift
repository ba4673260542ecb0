import NIOCore

/// Gives a connection a buffer for each read and keeps none between reads: hundreds of targets that are silent most of the time cost no
/// memory for reading, and a poll takes one large read instead of several small ones.
struct PassingReadBuffers: RecvByteBufferAllocator {
    /// One read for an ordinary body; a larger one takes several.
    private static let readSize = 32 << 10
    /// What is read from a connection before others have their turn. With more than one the channel would keep buffers for them.
    static let readsAtOnce: UInt = 1

    /// The channel keeps the first buffer for good, whatever comes later: so that is a small one.
    private var size = 512

    mutating func record(actualReadBytes: Int) -> Bool {
        size = Self.readSize
        // Says that the buffer which the channel holds is not to be taken again.
        return true
    }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        allocator.buffer(capacity: size)
    }
}
