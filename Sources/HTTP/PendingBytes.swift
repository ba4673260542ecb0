public import NIOCore

/// Bytes that were read from a peer and not consumed yet. Consumed bytes are dropped when all are consumed, and at the latest before the
/// storage grows.
public struct PendingBytes: Sendable {
    /// The bytes. Decoders take them from the front.
    public var bytes = ByteBuffer()

    /// No bytes.
    public init() {}

    /// Their memory in bytes: that of the storage, not only of the readable bytes.
    public var held: Int { bytes.readableBytes == 0 ? 0 : bytes.storageCapacity }

    /// Whether every byte is consumed.
    public var isEmpty: Bool { bytes.readableBytes == 0 }

    /// Adds bytes. Their storage is used as it is when no other bytes are waiting.
    public mutating func append(_ more: consuming ByteBuffer) {
        guard bytes.readableBytes > 0 else {
            bytes = more
            return
        }
        // Growing the storage would keep the consumed bytes at its front.
        if more.readableBytes > bytes.writableBytes { bytes.discardReadBytes() }
        bytes.writeBuffer(&more)
    }

    /// Releases the storage when all bytes are consumed, so that the channel can use it for its next read.
    public mutating func releaseIfEmpty() {
        if bytes.readableBytes == 0 { bytes = ByteBuffer() }
    }
}
