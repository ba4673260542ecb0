import NIOCore

/// The bytes of a connection that are not decoded yet: the beginning of a message that came earlier, and what came last.
struct MessageBuffer {
    /// The beginning of the current message; all of it was looked at.
    private(set) var beginning = ByteBuffer()
    /// What follows it, not looked at yet.
    var input = ByteBuffer()

    /// Bytes of the current message, and of what follows it, that are held.
    var count: Int { beginning.readableBytes + input.readableBytes }

    /// Bytes of memory that they take.
    var heldBytes: Int { MessageBuffer.memory(of: beginning) + MessageBuffer.memory(of: input) }

    mutating func feed(_ bytes: ByteBuffer) {
        if input.readableBytes == 0 { input = bytes } else { input.writeImmutableBuffer(bytes) }
    }

    /// Drops the next `length` bytes of `input`.
    mutating func skip(_ length: Int) {
        input.moveReaderIndex(forwardBy: length)
        if input.readableBytes == 0 { input = ByteBuffer() }
    }

    /// Takes the message that ends `length` bytes into `input`: from `input` alone when nothing of it came earlier, so without a copy.
    mutating func takeMessage(endingAt length: Int) -> ByteBuffer {
        guard beginning.readableBytes > 0 else {
            // A copy of the reference whose writer index ends the message, not a slice: what follows stays readable as padding.
            var message = input
            message.moveWriterIndex(to: input.readerIndex + length)
            input.moveReaderIndex(forwardBy: length)
            if input.readableBytes == 0 { input = ByteBuffer() }
            return message
        }
        keep(length)
        defer { beginning = ByteBuffer() }
        return beginning
    }

    /// Moves the next `length` bytes of `input` to the beginning, and lets go of `input` when that is all.
    mutating func keep(_ length: Int) {
        defer { if input.readableBytes == 0 { input = ByteBuffer() } }
        // A read buffer that is mostly empty would be held whole; one that is shared would be copied at the first append.
        if beginning.readableBytes == 0, length == input.readableBytes, input.readerIndex == 0, input.capacity <= 2 * length {
            beginning = input
            input = ByteBuffer()
            return
        }
        guard var bytes = input.readSlice(length: length) else { return }
        if beginning.readableBytes == 0 { beginning.reserveCapacity(length + MessageBuffer.padding) }
        beginning.writeBuffer(&bytes)
    }

    /// Room after a message that parsers may read.
    private static let padding = 64

    /// Of a buffer that has grown large, the system gives memory only to the pages that were written.
    private static func memory(of buffer: ByteBuffer) -> Int {
        min(buffer.storageCapacity, buffer.writerIndex + 64 << 10)
    }
}
