import NIOCore

/// Allocates a buffer for each read and keeps none between reads: an idle connection needs no read buffer, however much it has sent before.
struct PassingReadBuffers: RecvByteBufferAllocator {
    /// For polls: an ordinary body is one read.
    static let ofPolls = PassingReadBuffers(first: 512, ordinary: 32 << 10, afterFull: 32 << 10)
    /// For pushes: an ordinary push is one read, and a large one comes in few pieces. The first buffer holds the head of a request or the
    /// first message of a TLS handshake.
    static let ofPushes = PassingReadBuffers(first: 4 << 10, ordinary: 32 << 10, afterFull: 256 << 10)

    /// The reads from one connection before others have their turn. With more than one the channel would keep more than its first buffer.
    static let readsAtOnce: UInt = 1

    /// Bytes of an ordinary buffer.
    let ordinary: Int
    private let afterFull: Int
    private var size: Int

    /// - Parameters:
    ///   - first: bytes of the first buffer. The channel keeps it for good, so it is small.
    ///   - ordinary: bytes of the others.
    ///   - afterFull: bytes of a buffer after a read that has filled an ordinary one. Only a sender of that much gets such a buffer: what
    ///     waits of a read is counted with its whole buffer.
    private init(first: Int, ordinary: Int, afterFull: Int) {
        self.ordinary = ordinary
        self.afterFull = afterFull
        size = first
    }

    mutating func record(actualReadBytes: Int) -> Bool {
        size = actualReadBytes < ordinary ? ordinary : afterFull
        // `true` tells the channel to allocate a new buffer for the next read.
        return true
    }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { allocator.buffer(capacity: size) }
}
