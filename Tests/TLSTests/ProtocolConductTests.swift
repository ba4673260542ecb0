import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import TLS

struct ProtocolConductTests {
    @Test("a client that asks for another handshake is refused; the first handshake is counted once")
    func renegotiation() throws {
        let served = try ServedClient(OpenSSLClient(version: 0x0303), to: Contexts.server)
        defer { served.end() }
        try served.exchange(served.client.renegotiate())
        #expect(served.client.failure == "no renegotiation")
        // OpenSSL's clients answer the refusal with a fatal alert of their own.
        #expect(served.server.recorder.errors == [.alertReceived("handshake failure")])
        #expect(served.outcomes.all == [nil])
    }

    @Test("each way that a handshake can end has its own reason, reported once")
    func reasons() throws {
        func outcome(_ body: (End, EmbeddedEventLoop) throws -> Void) throws -> [TLSHandshakeFailure?] {
            let loop = EmbeddedEventLoop()
            var outcomes: [TLSHandshakeFailure?] = []
            let handler = TLSHandler(
                server: Contexts.server, handshakeTimeout: .seconds(2), onHandshake: { failure, _ in outcomes.append(failure) })
            let server = try End(handler, loop: loop)
            try server.activate()
            try body(server, loop)
            loop.advanceTime(by: .seconds(10))
            if server.channel.isActive { server.loseTransport() }
            server.finish()
            return outcomes
        }
        #expect(try outcome { _, loop in loop.advanceTime(by: .seconds(2)) } == [.timeout])
        #expect(try outcome { server, _ in server.receiveFIN() } == [.closed])
        #expect(try outcome { server, _ in server.loseTransport() } == [.closed])
        #expect(try outcome { server, _ in server.receive(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n")) } == [.plainHTTP])
        #expect(try outcome { server, _ in server.receive(ByteBuffer(string: "SSH-2.0-OpenSSH_9\r\n")) } == [.notTLS])
        let tls12 = try serve(OpenSSLClient(version: 0x0303), by: Contexts.server { $0.minVersion = .tls13 })
        #expect(tls12.outcomes.all == [.version])
    }
}
