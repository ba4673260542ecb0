import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import TLS

/// A server that has sent the reason of a refusal waits a moment, so that no reset overtakes the reason.
struct LingeringTests {
    /// A server that has just refused a client. The test sends the client's bytes.
    private final class Refused {
        let loop = EmbeddedEventLoop()
        let server: End

        init(_ change: (inout TLSServerSettings) -> Void = { $0.minVersion = .tls13 }) throws {
            server = try End(TLSHandler(server: Contexts.server(Contexts.serverCertificate, change)), loop: loop)
            // A handler above closes on each error; that must not cut the reason off.
            server.recorder.onEvent = { event, context in if case .error = event { context.close(promise: nil) } }
            try server.activate()
            let client = try OpenSSLClient(version: 0x0303)
            server.receive(ByteBuffer(bytes: client.step()))
        }

        deinit { server.finish() }
    }

    @Test("after the alert the output ends, and the peer may still send and then close")
    func alert() throws {
        let refused = try Refused()
        let server = refused.server
        // A fatal alert, protocol_version (RFC 8446 section 6).
        #expect(try server.takeOutbound() == ByteBuffer(bytes: [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46]))
        #expect(server.bottom.closes == [.output])
        #expect(server.recorder.seen == [.active, .error(.handshakeFailed("the peer speaks no version of TLS that is allowed here"))])
        server.receive(ByteBuffer(repeating: 0x16, count: 100_000))
        #expect(server.channel.isActive)
        server.receiveFIN()
        #expect(!server.channel.isActive)
        #expect(server.recorder.seen.last == .inactive)
        #expect(try server.takeOutbound() == nil)
        #expect(server.recorder.received.readableBytes == 0)
    }

    @Test("it does not wait for ever")
    func timeLimit() throws {
        let refused = try Refused()
        refused.loop.advanceTime(by: TLSHandler.lingerTime - .milliseconds(1))
        #expect(refused.server.channel.isActive)
        refused.loop.advanceTime(by: .milliseconds(1))
        #expect(!refused.server.channel.isActive)
    }

    @Test("it does not read for ever", arguments: [0, 1])
    func byteLimit(_ excess: Int) throws {
        let refused = try Refused()
        refused.server.receive(ByteBuffer(repeating: 0, count: 1000))
        refused.server.receive(ByteBuffer(repeating: 0, count: TLSHandler.lingerBytes - 1000 + excess))
        #expect(refused.server.channel.isActive == (excess == 0))
    }

    @Test("an abort does not wait, another close does")
    func cut() throws {
        let refused = try Refused()
        refused.server.channel.close(promise: nil)
        #expect(refused.server.channel.isActive)
        refused.server.channel.abort()
        #expect(!refused.server.channel.isActive)
    }

    @Test("a peer that breaks the protocol after the handshake gets an alert too")
    func afterTheHandshake() throws {
        let pair = try BackToBack()
        try pair.connect()
        pair.server.receive(ByteBuffer(bytes: [0x17, 0x03, 0x03, 0x00, 0x20] + [UInt8](repeating: 7, count: 0x20)))
        #expect(pair.server.bottom.closes == [.output])
        #expect(pair.server.channel.isActive)
        try pair.interact()
        #expect(pair.client.recorder.errors == [.alertReceived("bad record mac")])
        #expect(!pair.client.channel.isActive)
        #expect(!pair.server.channel.isActive)
    }

    @Test("without a reason to send the connection closes at once")
    func nothingToSay() throws {
        let loop = EmbeddedEventLoop()
        let server = try End(TLSHandler(server: Contexts.server), loop: loop)
        try server.activate()
        server.receive(ByteBuffer(string: "SSH-2.0-OpenSSH_9\r\n"))
        loop.run()
        #expect(server.bottom.closes == [.all])
    }

    @Test("a client that refuses its server sends an alert and closes at once")
    func client() throws {
        let pair = try BackToBack(client: TLSContext(client: Contexts.clientSettings(trusting: Contexts.otherCA)))
        try pair.connect()
        #expect(!pair.client.channel.isActive)
        #expect(pair.client.bottom.closes == [.all])
        #expect(pair.server.recorder.errors == [.alertReceived("unknown CA")])
        #expect(pair.server.bottom.closes == [.all])
    }
}
