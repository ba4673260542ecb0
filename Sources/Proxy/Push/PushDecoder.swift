public import NIOCore

/// One message's apps, applied together or not at all. Names are unique: of a repeated one the last counted.
public struct Push: Sendable {
    /// In the order in which the message names them first.
    public var apps: [(name: AppName, exposition: Exposition)]

    /// A message's apps, each name once.
    public init(apps: [(name: AppName, exposition: Exposition)]) { self.apps = apps }

    /// Bytes of all metrics.
    var size: Int { apps.reduce(0) { $0 + $1.exposition.size } }
}

/// Turns a connection's bytes, in whatever pieces they come, into pushes. A value that belongs to one connection.
public protocol PushDecoder: Sendable {
    /// A larger message is refused as soon as that is certain. It may change at any time.
    var maxMessageSize: ByteCount { get set }

    /// Takes bytes, which may be kept, shared, until their message is complete. Call `next()` until it answers `nil` afterwards.
    mutating func feed(_ input: ByteBuffer)

    /// The next complete message; `nil` when more bytes are needed. Takes less than a millisecond.
    /// - Throws: a `Rejection`, after which the decoder must not be used again.
    mutating func next() throws(Rejection) -> PushMessage?

    /// Call when the sender has ended its side and `next()` has answered `nil`.
    /// - Throws: `.truncated` when a message was cut short.
    mutating func finish() throws(Rejection)

    /// Bytes of memory that are held for messages that are not complete yet, and for what has not been looked at.
    var heldBytes: Int { get }

    /// Whether bytes are held: of a message that is not complete, or not looked at yet. White space between messages does not count.
    var isWithinMessage: Bool { get }
}

/// A complete message.
public enum PushMessage: Sendable {
    case push(Push)
    /// One that takes too long to decode on an event loop.
    case undecoded(UndecodedPush)
}

/// A complete message that belongs on a pool, because decoding or applying it takes more than about a millisecond.
public struct UndecodedPush: Sendable {
    /// A message above this size, in bytes, is never decoded on an event loop.
    public static let inlineLimit = 64 << 10

    enum Content {
        case json(JSONMessage)
        case capnp(CapnpMessage)
        /// Only applying it takes long.
        case decoded(Push)
    }

    let content: Content

    init(content: Content) { self.content = content }

    /// A push that takes long to apply.
    public init(decoded push: Push) { content = .decoded(push) }

    /// Bytes of memory that the message takes.
    public var size: Int {
        switch content {
        case .json(let message): message.bytes.readableBytes
        case .capnp(let message): message.bytes.readableBytes
        case .decoded(let push): push.size
        }
    }

    /// The most memory, in bytes, that decoding takes beyond the message, the push included.
    /// - Parameter maxApps: as for `decode`.
    public func decodingCost(maxApps: Int) -> Int {
        switch content {
        case .json(let message): message.decodingCost(maxApps: maxApps)
        case .capnp(let message): message.decodingCost
        case .decoded: 0
        }
    }

    /// The message's apps. Takes time in proportion to the size: about a second for a GiB of text, several for many small apps.
    /// - Parameter maxApps: decoding ends with `.tooManyApps` as soon as there are more.
    public func decode(maxApps: Int) throws(Rejection) -> Push {
        switch content {
        case .json(let message): try message.decode(maxApps: maxApps)
        case .capnp(let message): try message.decode()
        case .decoded(let push): push
        }
    }
}

extension PushFormat {
    /// A decoder for one connection that speaks this format.
    public func makeDecoder(maxMessageSize: ByteCount) -> any PushDecoder {
        switch self {
        case .json: JSONPushDecoder(maxMessageSize: maxMessageSize)
        case .capnp: CapnpPushDecoder(maxMessageSize: maxMessageSize)
        }
    }
}

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
