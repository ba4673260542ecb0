public import NIOCore

/// Bytes that were read from a peer and are not consumed yet. What is consumed takes no memory: it is dropped when all of it is, and at
/// the latest before the storage grows.
public struct PendingBytes: Sendable {
    /// The bytes. Decoders take them from the front.
    public var bytes = ByteBuffer()

    /// No bytes.
    public init() {}

    /// The memory that is held for them, in bytes: the storage, not what of it is readable.
    public var held: Int { bytes.readableBytes == 0 ? 0 : bytes.storageCapacity }

    /// Whether every byte is consumed.
    public var isEmpty: Bool { bytes.readableBytes == 0 }

    /// Adds what was read. Its storage is taken over when nothing else is waiting.
    public mutating func append(_ more: consuming ByteBuffer) {
        guard bytes.readableBytes > 0 else {
            bytes = more
            return
        }
        // Growing would keep the consumed bytes in front for ever.
        if more.readableBytes > bytes.writableBytes { bytes.discardReadBytes() }
        bytes.writeBuffer(&more)
    }

    /// Gives the storage back when nothing in it is needed, so that the channel can use it for its next read.
    public mutating func releaseIfEmpty() {
        if bytes.readableBytes == 0 { bytes = ByteBuffer() }
    }
}
