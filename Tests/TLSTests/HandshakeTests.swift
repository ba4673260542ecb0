import COpenSSL
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import TLS

struct HandshakeTests {
    @Test("both versions agree and carry bytes both ways", arguments: [TLSProtocolVersion.tls12, .tls13])
    func versions(_ version: TLSProtocolVersion) throws {
        let pair = try BackToBack(server: Contexts.server { $0.maxVersion = version })
        try pair.connect()
        #expect(pair.client.recorder.seen == [.active, .handshake(nil)])
        #expect(pair.server.recorder.seen == [.active, .handshake(nil)])
        #expect(pair.client.tls.negotiation?.isTLS12 == (version == .tls12))
        #expect(pair.server.tls.negotiation?.isTLS12 == (version == .tls12))
        #expect(pair.server.tls.negotiation?.isResumed == false)
        let expected = version == .tls13 ? "TLS_AES_128_GCM_SHA256" : "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
        #expect(pair.server.tls.negotiation?.cipherSuite == expected)
        _ = pair.client.write("question")
        _ = pair.server.write("answer")
        try pair.interact()
        #expect(pair.server.recorder.text == "question")
        #expect(pair.client.recorder.text == "answer")
    }

    @Test("a server can have each kind of key", arguments: ThrowawayCA.KeyKind.allCases)
    func keys(_ kind: ThrowawayCA.KeyKind) throws {
        let pair = try BackToBack(server: Contexts.server(Contexts.ca.serverCertificate(key: kind)))
        try pair.connect()
        #expect(pair.client.recorder.story == [.handshake(nil)])
    }

    @Test("a handshake in single bytes works")
    func singleBytes() throws {
        let pair = try BackToBack()
        try pair.server.activate()
        try pair.client.activate()
        _ = pair.client.write("hello")
        try pair.interact(pieceSize: 1)
        #expect(pair.server.recorder.text == "hello")
    }

    @Test("writes before the handshake wait for it")
    func earlyWrites() throws {
        let pair = try BackToBack()
        try pair.server.activate()
        try pair.client.activate()
        let written = pair.client.write("early")
        var isWritten = false
        written.assumeIsolated().whenSuccess { isWritten = true }
        #expect(!isWritten)
        try pair.interact()
        #expect(isWritten)
        #expect(pair.server.recorder.text == "early")
    }

    @Test("writes that wait for the rest of a message go on when it has come, and it is read although the application reads nothing")
    func writesWaitForPeer() throws {
        // The ticket holds the client's certificate, so the message does not fit into one record of 512 bytes.
        let certificate = try Contexts.ca.clientCertificate(names: (1000..<1040).map { "host\($0).clients.example" })
        let pair = try BackToBack(
            client: Contexts.client {
                $0.certificateChain = Array(certificate.chainPEM.utf8)
                $0.privateKey = Array(certificate.privateKeyPEM.utf8)
            },
            server: Contexts.server {
                $0.minVersion = .tls13
                $0.clientAuthentication = .requireAndVerify
                $0.clientAuthorities = Array(Contexts.ca.certificatePEM.utf8)
            })
        try pair.server.activate()
        try pair.client.activate()
        pair.server.receive(try #require(try pair.client.takeOutbound()))
        let connection = try #require(pair.server.tls.connection)
        while let bytes = try pair.server.takeOutbound() { pair.client.receive(bytes) }
        #expect(SSL_ctrl(connection.ssl, SSL_CTRL_SET_MAX_SEND_FRAGMENT, 512, nil) == 1)
        while let bytes = try pair.client.takeOutbound() { pair.server.receive(bytes) }
        var tickets = ByteBuffer()
        while let bytes = try pair.server.takeOutbound() { tickets.writeImmutableBuffer(bytes) }
        let record = tickets.readSlice(length: 5 + Int(tickets.getInteger(at: 3, as: UInt16.self) ?? 0))
        let first = try #require(record)
        #expect(tickets.readableBytes > 0)

        pair.client.receive(first)
        let reads = pair.client.bottom.reads
        _ = pair.client.write("hello")
        #expect(try pair.client.takeOutbound() == nil)
        #expect(pair.client.bottom.reads == reads + 1)
        pair.client.receive(tickets)
        try pair.interact()
        #expect(pair.server.recorder.text == "hello")
        #expect(pair.client.recorder.errors == [])
    }

    @Test("added to an active channel, the handler receives bytes that came before")
    func addedLate() throws {
        let loop = EmbeddedEventLoop()
        let client = try End(TLSHandler(client: Contexts.client, hostname: "localhost"), loop: loop)
        try client.activate()
        let server = EmbeddedChannel(loop: loop)
        try server.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        let recorder = Recorder()
        try server.pipeline.syncOperations.addHandlers([TLSHandler(server: Contexts.server), recorder])
        while true {
            var moved = false
            while let bytes = try client.takeOutbound() {
                server.pipeline.fireChannelRead(bytes)
                moved = true
            }
            while let bytes = try server.readOutbound(as: ByteBuffer.self) {
                client.receive(bytes)
                moved = true
            }
            if !moved { break }
        }
        #expect(recorder.seen == [.handshake(nil)])
        #expect(client.recorder.story == [.handshake(nil)])
        _ = try server.finish(acceptAlreadyClosed: true)
        _ = try client.channel.finish(acceptAlreadyClosed: true)
    }

    @Test("ALPN picks the server's first choice among the client's")
    func alpn() throws {
        let pair = try BackToBack(
            client: Contexts.client { $0.applicationProtocols = ["h2", "http/1.0", "http/1.1"] },
            server: Contexts.server { $0.applicationProtocols = ["http/1.1", "http/1.0"] })
        try pair.connect()
        #expect(pair.client.recorder.story == [.handshake("http/1.1")])
        #expect(pair.server.recorder.story == [.handshake("http/1.1")])
        #expect(pair.server.tls.negotiation?.applicationProtocol == "http/1.1")
    }

    @Test("without ALPN on one side the handshake succeeds")
    func alpnUnused() throws {
        let silentServer = try BackToBack(client: Contexts.client { $0.applicationProtocols = ["h2"] })
        try silentServer.connect()
        #expect(silentServer.client.recorder.story == [.handshake(nil)])
        let silentClient = try BackToBack(server: Contexts.server { $0.applicationProtocols = ["http/1.1"] })
        try silentClient.connect()
        #expect(silentClient.client.recorder.story == [.handshake(nil)])
    }

    @Test("garbage instead of a ClientHello is refused, and the connection closed")
    func garbage() throws {
        let pair = try BackToBack()
        try pair.server.activate()
        let refused = pair.server.write("never")
        pair.server.receive(ByteBuffer(bytes: [0x00, 0xff, 0x13, 0x37, 0x00, 0x00, 0x00]))
        pair.loop.run()
        #expect(pair.server.recorder.errors.count == 1)
        #expect(pair.server.recorder.seen.last == .inactive)
        #expect(!pair.server.channel.isActive)
        #expect(throws: TLSError.self) { try refused.wait() }
    }

    @Test("a plain HTTP request is not taken for garbage", arguments: [1, 3, 100])
    func plainHTTP(_ pieceSize: Int) throws {
        let pair = try BackToBack()
        try pair.server.activate()
        var request = ByteBuffer(string: "OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n")
        while request.readableBytes > 0 {
            guard let piece = request.readSlice(length: min(pieceSize, request.readableBytes)) else { break }
            pair.server.receive(piece)
        }
        pair.loop.run()
        #expect(pair.server.recorder.seen == [.active, .error(.plainHTTPRequest), .inactive])
        #expect(try pair.server.takeOutbound()?.readableBytes ?? 0 == 0)
    }

    @Test("a plain HTTP request gets the plain answer, and time to read it")
    func plainHTTPAnswer() throws {
        let answer = ByteBuffer(string: "HTTP/1.1 400 Bad Request\r\n\r\nuse https")
        let pair = try BackToBack(
            client: TLSHandler(client: Contexts.client, hostname: "localhost"),
            server: TLSHandler(server: Contexts.server, plainHTTPResponse: answer))
        try pair.server.activate()
        // A handler above closes on each error; that must not cut the answer off.
        pair.server.recorder.onEvent = { event, context in if case .error = event { context.close(promise: nil) } }
        pair.server.receive(ByteBuffer(string: "GET / HTTP/1.1\r\n"))
        #expect(try pair.server.takeOutbound() == answer)
        #expect(pair.server.bottom.closes == [.output])
        pair.server.receive(ByteBuffer(string: "Host: x\r\n\r\n"))
        #expect(pair.server.channel.isActive)
        pair.loop.advanceTime(by: TLSHandler.lingerTime)
        #expect(pair.server.recorder.seen == [.active, .error(.plainHTTPRequest), .inactive])
    }

    @Test("bytes that only begin like a method are not HTTP")
    func firstBytes() {
        func judge(_ text: String) -> FirstBytes { FirstBytes(ByteBuffer(string: text).readableBytesView) }
        #expect(judge("") == .undecided)
        #expect(judge("G") == .undecided)
        #expect(judge("GET") == .undecided)
        #expect(judge("GET ") == .plainHTTP)
        #expect(judge("GEX") == .notTLS)
        #expect(judge("P") == .undecided)
        #expect(judge("PR") == .undecided)
        #expect(judge("PRI * HTTP/2.0") == .plainHTTP)
        #expect(judge("get ") == .notTLS)
        #expect(judge("{") == .notTLS)
        #expect(judge("\0") == .notTLS)
        #expect(judge("\u{16}\u{3}\u{1}") == .tls)
        func judge(_ bytes: [UInt8]) -> FirstBytes { FirstBytes(ByteBuffer(bytes: bytes).readableBytesView) }
        #expect(judge([0x80, 46]) == .undecided)
        #expect(judge([0x80, 46, 1]) == .sslv2)
        #expect(judge([0x80, 46, 2]) == .notTLS)
    }

    @Test("a handshake that takes too long fails, one that is in time succeeds")
    func handshakeTimeout() throws {
        let pair = try BackToBack(
            client: TLSHandler(client: Contexts.client, hostname: "localhost", handshakeTimeout: .seconds(2)),
            server: TLSHandler(server: Contexts.server, handshakeTimeout: .seconds(2)))
        try pair.server.activate()
        pair.loop.advanceTime(by: .milliseconds(1999))
        #expect(pair.server.recorder.seen == [.active])
        pair.loop.advanceTime(by: .milliseconds(1))
        #expect(pair.server.recorder.seen == [.active, .error(.handshakeTimeout), .inactive])

        let quick = try BackToBack(
            client: TLSHandler(client: Contexts.client, hostname: "localhost", handshakeTimeout: .seconds(2)),
            server: TLSHandler(server: Contexts.server, handshakeTimeout: .seconds(2)))
        try quick.connect()
        quick.loop.advanceTime(by: .seconds(3))
        #expect(quick.server.recorder.story == [.handshake(nil)])
        #expect(quick.client.recorder.story == [.handshake(nil)])
    }

    @Test("a peer that leaves during the handshake is an error of its own", arguments: [true, false])
    func leaves(_ byFIN: Bool) throws {
        let pair = try BackToBack()
        try pair.client.activate()
        let written = pair.client.write("lost")
        if byFIN { pair.client.receiveFIN() } else { pair.client.loseTransport() }
        pair.loop.run()
        #expect(pair.client.recorder.seen.prefix(2) == [.active, .error(.closedDuringHandshake)])
        #expect(throws: TLSError.closedDuringHandshake) { try written.wait() }
    }

    @Test("handlers of one context work on several threads at once")
    func threads() async throws {
        try await withThrowingTaskGroup(of: String.self) { group in
            for number in 0..<8 {
                group.addTask { try Self.exchange("message \(number)") }
            }
            var received: Set<String> = []
            for try await text in group { received.insert(text) }
            #expect(received == Set((0..<8).map { "message \($0)" }))
        }
    }

    private static func exchange(_ text: String) throws -> String {
        let pair = try BackToBack()
        try pair.connect()
        _ = pair.client.write(text)
        try pair.interact()
        return pair.server.recorder.text
    }
}
