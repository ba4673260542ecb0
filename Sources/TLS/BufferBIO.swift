import COpenSSL
import NIOCore

/// The transport that OpenSSL reads from and writes to: two `ByteBuffer`s in memory.
/// Owns one reference of its `BIO`; the `SSL` holds others and must be freed while this object lives.
final class BufferBIO {
    /// Ciphertext that OpenSSL has not read yet. OpenSSL keeps the beginning of a record itself, so this is empty whenever it wants more.
    private var inbound = ByteBuffer()
    /// Ciphertext that waits for the network.
    private(set) var outbound = ByteBuffer()
    /// How many bytes OpenSSL has read since start. The difference between two moments tells how much of a record it holds.
    private(set) var bytesRead = 0

    let bio: OpaquePointer

    /// - Returns: `nil` when OpenSSL has no memory left.
    init?() {
        guard let method = BIOMethod.shared.pointer, let bio = BIO_new(method) else { return nil }
        self.bio = bio
        // Unretained: this object frees the BIO's last reference, so no callback comes after it is freed.
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
    }

    deinit {
        BIO_set_data(bio, nil)
        BIO_free(bio)
    }

    /// Bytes from the network that OpenSSL has not read yet.
    var inboundBytes: Int {
        inbound.readableBytes
    }

    func receive(_ bytes: ByteBuffer) {
        guard inbound.readableBytes > 0 else {
            inbound = bytes
            return
        }
        inbound.writeImmutableBuffer(bytes)
    }

    /// Makes room, so that the records of one gathered write do not grow the buffer step by step.
    func reserveOutbound(_ capacity: Int, from allocator: ByteBufferAllocator) {
        guard outbound.readableBytes == 0 else {
            outbound.reserveCapacity(minimumWritableBytes: capacity)
            return
        }
        outbound = allocator.buffer(capacity: capacity)
    }

    /// The ciphertext for the network so far.
    func takeOutbound() -> ByteBuffer {
        let bytes = outbound
        outbound = ByteBuffer()
        return bytes
    }

    /// Discards received bytes that will not be read.
    func discardInbound() {
        inbound = ByteBuffer()
    }

    fileprivate func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(target.count, inbound.readableBytes)
        guard count > 0 else { return 0 }
        inbound.readWithUnsafeReadableBytes { source in
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<count]))
            return count
        }
        bytesRead += count
        if inbound.readableBytes == 0 {
            // Frees the network's buffer now, not when the next bytes come.
            inbound = ByteBuffer()
        }
        return count
    }

    fileprivate func write(_ bytes: UnsafeRawBufferPointer) {
        outbound.writeBytes(bytes)
    }
}

/// The functions of every `BufferBIO`, made once for the process.
private struct BIOMethod: @unchecked Sendable {
    // Safe to share: written only in `init`, and OpenSSL only reads it. Never freed.
    let pointer: OpaquePointer?

    static let shared = BIOMethod()

    private init() {
        pointer = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ByteBuffer")
        BIO_meth_set_read_ex(pointer) { bio, target, length, count in
            guard let buffer = BufferBIO.behind(bio), let target else { return 0 }
            BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
            let read = buffer.read(into: UnsafeMutableRawBufferPointer(start: target, count: length))
            count?.pointee = read
            guard read > 0 else {
                BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
                return 0
            }
            return 1
        }
        BIO_meth_set_write_ex(pointer) { bio, source, length, count in
            guard let buffer = BufferBIO.behind(bio), let source else { return 0 }
            BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
            buffer.write(UnsafeRawBufferPointer(start: source, count: length))
            count?.pointee = length
            return 1
        }
        BIO_meth_set_ctrl(pointer) { _, command, _, _ in
            // The handshake flushes after each flight and fails unless this succeeds.
            command == BIO_CTRL_FLUSH ? 1 : 0
        }
    }
}

extension BufferBIO {
    fileprivate static func behind(_ bio: OpaquePointer?) -> BufferBIO? {
        guard let bio, let data = BIO_get_data(bio) else { return nil }
        return Unmanaged<BufferBIO>.fromOpaque(data).takeUnretainedValue()
    }
}
