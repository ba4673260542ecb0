import Glibc
@_spi(CustomByteBufferAllocator) public import NIOCore
import Synchronization

/// One app's metrics: bytes that end in a newline (or none at all), made once on arrival and never changed. The maker has checked that they
/// are UTF-8 without NUL. Their meaning is not checked.
public struct Exposition: Sendable {
    private let content: Content

    private final class Content: Sendable {
        let buffer: ByteBuffer
        /// The compressed bytes, made when first asked for.
        let segment: Mutex<DeflateSegment?>
        let instances: [String]

        init(buffer: ByteBuffer, segment: DeflateSegment?, instances: [String] = []) {
            self.buffer = buffer
            self.segment = Mutex(segment)
            self.instances = instances
        }
    }

    /// No metrics at all.
    public static let empty = Exposition(endingInNewline: ByteBuffer())

    /// - Parameter buffer: empty, or ending in `\n`.
    public init(endingInNewline buffer: ByteBuffer) {
        assert(buffer.readableBytes == 0 || buffer.getInteger(at: buffer.writerIndex - 1, as: UInt8.self) == UInt8(ascii: "\n"))
        self.content = Content(buffer: buffer, segment: nil)
    }

    /// A final newline is added where it is missing. Copied only for that, if there is no room for it, or when `buffer` holds much more
    /// memory than its bytes need.
    public init(addingNewlineTo buffer: consuming ByteBuffer) {
        let isEnded = buffer.readableBytes == 0 || buffer.getInteger(at: buffer.writerIndex - 1, as: UInt8.self) == UInt8(ascii: "\n")
        if isEnded || buffer.writableBytes > 0, buffer.storageCapacity <= buffer.readableBytes + buffer.readableBytes / 8 + 1 {
            if !isEnded { buffer.writeInteger(UInt8(ascii: "\n")) }
            self.init(endingInNewline: buffer)
        } else {
            self = buffer.withUnsafeReadableBytes { Exposition(copying: $0) }
        }
    }

    /// A copy of `bytes`, with a final newline where it is missing.
    init(copying bytes: UnsafeRawBufferPointer) {
        self.init(size: bytes.count, last: bytes.last) { $0.copyMemory(from: bytes) }
    }

    /// A copy of `text`, which is looked at on the way, with a final newline where it is missing.
    init(copyingText text: UnsafeRawBufferPointer) throws(TextFault) {
        var fault: TextFault?
        self.init(size: text.count, last: text.last) { fault = $0.copyText(from: text) }
        if let fault { throw fault }
    }

    /// - Parameters:
    ///   - size: the number of bytes that `fill` writes. A final newline is added if it is missing.
    ///   - last: the last of these bytes; `nil` without bytes.
    private init(size: Int, last: UInt8?, fill: (UnsafeMutableRawBufferPointer) -> Void) {
        guard let last else {
            self = .empty
            return
        }
        let isEnded = last == UInt8(ascii: "\n")
        let buffer = ByteBuffer.exactly(isEnded ? size : size + 1) { destination in
            fill(destination)
            if !isEnded { destination[size] = UInt8(ascii: "\n") }
        }
        self.init(endingInNewline: buffer)
    }

    /// The same bytes at another place; what was already compressed is kept.
    init(_ original: Exposition, movedTo buffer: ByteBuffer) {
        assert(buffer.readableBytes == original.size)
        self.content = Content(buffer: buffer, segment: original.finishedSegment, instances: original.instances)
    }

    /// The same metrics, which contain those of other proxies.
    /// - Parameter instances: as the field `X-Exporter-Proxy-Instances` of their answer listed them.
    public func containing(_ instances: [String]) -> Exposition {
        Exposition(content: Content(buffer: buffer, segment: finishedSegment, instances: instances))
    }

    /// Other metrics in place of the original's, of the same proxies.
    /// - Parameter fill: writes all `size` bytes; the last is a newline.
    init(replacing original: Exposition, size: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) {
        self.init(content: Content(buffer: .exactly(size, fill: fill), segment: nil, instances: original.instances))
    }

    private init(content: Content) { self.content = content }

    /// The proxies whose metrics these contain, for `X-Exporter-Proxy-Instances`; nearly always none.
    public var instances: [String] { content.instances }

    /// The bytes, from reader to writer index.
    public var buffer: ByteBuffer { content.buffer }

    /// The size in bytes, final newline included.
    public var size: Int { content.buffer.readableBytes }

    /// The bytes compressed: made by the first caller, while others wait for it, and remembered.
    /// Takes about a millisecond per MiB the first time.
    public var segment: DeflateSegment { segment(using: nil) }

    /// Whether `segment` would have to compress first (or wait for another thread that does); never waits.
    public var needsCompression: Bool { size > 0 && finishedSegment == nil }

    func segment(using deflater: Deflater?) -> DeflateSegment {
        content.segment.withLock { segment in
            if let segment { return segment }
            let made = (deflater ?? Deflater()).segment(of: content.buffer)
            segment = made
            return made
        }
    }

    private var finishedSegment: DeflateSegment? {
        content.segment.withLockIfAvailable { $0 } ?? nil
    }

    /// Whether both are the very same bytes in memory, not only equal ones.
    static func === (a: Exposition, b: Exposition) -> Bool { a.content === b.content }
}

extension ByteBuffer {
    /// A buffer of exactly `size` bytes. `fill` must write each of them.
    ///
    /// The standard allocator rounds up to a power of two, which would waste up to half of the memory of stored metrics.
    static func exactly(_ size: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) -> ByteBuffer {
        // malloc, because the default allocator frees with free().
        guard size > 0, let bytes = malloc(size) else { return ByteBuffer(repeating: 0, count: size, filledBy: fill) }
        let memory = UnsafeMutableRawBufferPointer(start: bytes, count: size)
        fill(memory)
        return ByteBuffer(takingOwnershipOf: memory, allocator: ByteBufferAllocator())
    }

    /// The bytes of all parts.
    /// - Parameter size: the sum of their readable bytes.
    static func joining(_ parts: some Sequence<ByteBuffer>, size: Int) -> ByteBuffer {
        exactly(size) { destination in
            var offset = 0
            for part in parts {
                part.withUnsafeReadableBytes { UnsafeMutableRawBufferPointer(rebasing: destination[offset...]).copyMemory(from: $0) }
                offset += part.readableBytes
            }
        }
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
