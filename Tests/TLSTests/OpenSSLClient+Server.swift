import NIOCore
import NIOEmbedded
import TestSupport

@testable import TLS

/// A server in memory with OpenSSL's own client.
struct ServedClient {
    let client: OpenSSLClient
    let server: End
    let loop: EmbeddedEventLoop
    /// How the server's handshakes ended; `nil` is success.
    let outcomes: Outcomes
    /// Whether the server resumed a session.
    private(set) var isResumed = false

    final class Outcomes {
        var all: [TLSHandshakeFailure?] = []
    }

    /// Connects, and delivers until both are silent.
    init(_ client: OpenSSLClient, to context: TLSContext) throws {
        let outcomes = Outcomes()
        self.client = client
        self.outcomes = outcomes
        loop = EmbeddedEventLoop()
        server = try End(TLSHandler(server: context, onHandshake: { failure, _ in outcomes.all.append(failure) }), loop: loop)
        try server.activate()
        try exchange(client.step())
        isResumed = server.tls.negotiation?.isResumed == true
    }

    func exchange(_ bytes: [UInt8]) throws {
        var toServer = bytes
        while true {
            if !toServer.isEmpty { server.receive(ByteBuffer(bytes: toServer)) }
            loop.run()
            var toClient: [UInt8] = []
            while let bytes = try server.takeOutbound() { toClient += bytes.readableBytesView }
            toServer = client.step(toClient)
            if toServer.isEmpty { break }
        }
        // A refused client closes.
        if client.failure != nil, server.channel.isActive { server.receiveFIN() }
    }

    func end() {
        server.finish()
    }
}

/// Connects a client and ends the connection again.
func serve(_ client: OpenSSLClient, by context: TLSContext) throws -> ServedClient {
    let served = try ServedClient(client, to: context)
    served.end()
    return served
}
