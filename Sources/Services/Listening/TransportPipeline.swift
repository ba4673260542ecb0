import NIOCore
import Proxy
import TLS

/// How the connections of a listener are carried.
enum Transport: Sendable {
    /// Plain text only.
    case off
    /// TLS only.
    case required(TLSContext)
    /// TLS and plain text on one port, told apart by the first bytes.
    case optional(TLSContext)

    /// `nil` without TLS.
    var context: TLSContext? {
        switch self {
        case .off: nil
        case .required(let context), .optional(let context): context
        }
    }
}

extension ListenerMetrics {
    /// Shows the dates of the certificates that are in force from now on.
    func show(_ transport: Transport) {
        setCertificate(notAfter: transport.context?.certificate?.notAfter, revocationsEnd: transport.context?.revocationsEnd)
    }
}

/// Adds TLS, or nothing, or a look at the first bytes, in front of any inner pipeline. Neither side knows the other.
struct TransportPipeline: Sendable {
    /// The protocol inside, as far as the transport must know it.
    enum Inside: Sendable {
        case http
        case push

        /// How a TLS connection begins, and no plain one: a handshake record (RFC 8446 §5.1).
        /// A Cap'n Proto message of 23 segments begins with 16 too, and its second byte is zero; no HTTP method begins with either.
        var tlsBegins: [UInt8] {
            switch self {
            case .http: [0x16]
            case .push: [0x16, 0x03]
            }
        }
    }

    var transport: Transport
    var inside: Inside
    /// What the answer to plain HTTP begins with where TLS is required.
    var plainHTTPPrefix = ""
    /// For the TLS handshake.
    var handshakeTimeout: TimeAmount
    /// For the first bytes, where they decide between TLS and plain text.
    var firstByteTimeout: TimeAmount
    /// Called with how each handshake ended.
    var onHandshake: @Sendable (_ failure: TLSHandshakeFailure?, _ channel: any Channel) -> Void
    /// How long a TLS peer may take none of the bytes that are left when the connection is closed.
    var closeTimeout: TimeAmount

    /// - Parameter inner: adds the inner handlers at the end of the pipeline; called on the event loop, at once or when the first bytes have come.
    ///   Where TLS is required, `isTLS` can still be false inside a receiver, which must refuse then.
    func install(on channel: any Channel, inner: @escaping (_ channel: any Channel, _ isTLS: Bool) throws -> Void) throws {
        switch transport {
        case .off:
            try inner(channel, false)
        case .required(let context) where inside == .push:
            // A sender without TLS would take a silent end for success: the inner handler answers it.
            try addFirstByteHandler(context, timeout: handshakeTimeout, to: channel, inner: inner)
        case .required(let context):
            try addTLS(context, answersPlainHTTP: true, to: channel)
            try inner(channel, true)
        case .optional(let context):
            try addFirstByteHandler(context, timeout: firstByteTimeout, to: channel, inner: inner)
        }
    }

    private func addFirstByteHandler(
        _ context: TLSContext, timeout: TimeAmount, to channel: any Channel,
        inner: @escaping (_ channel: any Channel, _ isTLS: Bool) throws -> Void
    ) throws {
        let handler = FirstByteHandler(tlsBegins: inside.tlsBegins, timeout: timeout) { isTLS in
            if isTLS { try addTLS(context, answersPlainHTTP: false, to: channel) }
            try inner(channel, isTLS)
        }
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    private func addTLS(_ context: TLSContext, answersPlainHTTP: Bool, to channel: any Channel) throws {
        let handler = TLSHandler(
            server: context, handshakeTimeout: handshakeTimeout, closeTimeout: closeTimeout,
            plainHTTPResponse: answersPlainHTTP ? plainHTTPAnswer : nil,
            onHandshake: onHandshake)
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    /// For a client that speaks HTTP where HTTPS is required.
    private var plainHTTPAnswer: ByteBuffer { plainHTTPPrefix.isEmpty ? Self.plainHTTPAnswer : Self.plainHTTPAnswer(plainHTTPPrefix) }

    private static let plainHTTPAnswer = plainHTTPAnswer("")

    private static func plainHTTPAnswer(_ prefix: String) -> ByteBuffer {
        let text = "\(prefix)this port speaks HTTPS; use https://\n"
        return ByteBuffer(
            string: """
                HTTP/1.1 400 Bad Request\r
                Content-Type: text/plain; charset=utf-8\r
                Content-Length: \(text.utf8.count)\r
                Connection: close\r
                \r
                \(text)
                """)
    }
}
