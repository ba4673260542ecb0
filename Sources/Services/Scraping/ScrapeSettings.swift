import HTTP
public import NIOCore
public import Proxy

/// What a reload can change of the scrape side without touching its sockets; each new connection takes what is in force when it is accepted.
public struct ScrapeSettings: Sendable {
    /// How connections are carried.
    public var transport: Transport
    /// For a TLS handshake.
    public var handshakeTimeout: TimeAmount
    /// For a request's head, from its first byte; of a new connection from its begin.
    public var headerTimeout: TimeAmount
    /// For a kept connection without a request.
    public var idleTimeout: TimeAmount
    /// For a reader that takes no bytes.
    public var writeTimeout: TimeAmount
    /// The longest that a reader may take for one answer.
    public var responseTimeout: TimeAmount

    /// Settings made of their parts.
    public init(
        transport: Transport, handshakeTimeout: TimeAmount, headerTimeout: TimeAmount, idleTimeout: TimeAmount, writeTimeout: TimeAmount,
        responseTimeout: TimeAmount
    ) {
        self.transport = transport
        self.handshakeTimeout = handshakeTimeout
        self.headerTimeout = headerTimeout
        self.idleTimeout = idleTimeout
        self.writeTimeout = writeTimeout
        self.responseTimeout = responseTimeout
    }

    /// - Parameter transport: made of `config.tls`.
    public init(_ config: ExporterConfig, transport: Transport) {
        self.init(
            transport: transport, handshakeTimeout: TimeAmount(config.handshakeTimeout), headerTimeout: TimeAmount(config.headerTimeout),
            idleTimeout: TimeAmount(config.idleTimeout), writeTimeout: TimeAmount(config.writeTimeout),
            responseTimeout: TimeAmount(config.responseTimeout))
    }

    /// Those of an HTTP connection.
    var timeouts: ServerConnection.Timeouts {
        ServerConnection.Timeouts(head: headerTimeout, idle: idleTimeout, write: writeTimeout, response: responseTimeout)
    }
}
