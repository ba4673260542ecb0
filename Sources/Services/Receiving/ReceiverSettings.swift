public import NIOCore
public import Proxy

/// What a reload can change of a receiver without touching its socket; each new connection takes what is in force when it is accepted.
public struct ReceiverSettings: Sendable {
    /// Always `.off` for a Unix socket.
    public var transport: Transport
    /// What the connection speaks.
    public var format: PushFormat
    /// A larger message is refused.
    public var maxMessageSize: ByteCount
    /// A connection that sends nothing for this long is closed.
    public var idleTimeout: TimeAmount
    /// For a TLS handshake.
    public var handshakeTimeout: TimeAmount

    /// Settings made of their parts.
    public init(transport: Transport, format: PushFormat, maxMessageSize: ByteCount, idleTimeout: TimeAmount, handshakeTimeout: TimeAmount)
    {
        self.transport = transport
        self.format = format
        self.maxMessageSize = maxMessageSize
        self.idleTimeout = idleTimeout
        self.handshakeTimeout = handshakeTimeout
    }

    /// - Parameter transport: made of `receiver.tls` for TCP; `.off` for the Unix socket.
    public init(_ config: Config, transport: Transport) {
        self.init(
            transport: transport, format: config.receiver.format, maxMessageSize: config.receiver.maxMessageSize,
            idleTimeout: TimeAmount(config.receiver.idleTimeout), handshakeTimeout: TimeAmount(config.exporter.handshakeTimeout))
    }
}
