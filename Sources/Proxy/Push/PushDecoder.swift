public import NIOCore

/// Turns a connection's bytes, in whatever pieces they come, into pushes. Fed from one event loop only.
public protocol PushDecoder {
    /// Takes the bytes of `input` (which may be kept, shared, until its message is whole). Call `next()` until it answers `nil` afterwards.
    mutating func feed(_ input: ByteBuffer)

    /// The next complete push; `nil` when more bytes are needed.
    /// - Throws: a `Rejection`, after which the decoder must not be used again.
    mutating func next() throws(Rejection) -> Push?

    /// Call when the sender has ended its side and `next()` has answered `nil`.
    /// - Throws: `.truncated` when a message was cut short.
    mutating func finish() throws(Rejection)

    /// Bytes held of a message that is not complete yet; they count towards `max_inflight_size`.
    var bufferedBytes: Int { get }
}

extension PushFormat {
    /// A decoder for one connection that speaks this format.
    /// - Parameter maxMessageSize: a larger message is refused as soon as that is certain.
    public func makeDecoder(maxMessageSize: ByteCount) -> any PushDecoder {
        switch self {
        case .json: JSONPushDecoder(maxMessageSize: maxMessageSize)
        case .capnp: CapnpPushDecoder(maxMessageSize: maxMessageSize)
        }
    }
}
