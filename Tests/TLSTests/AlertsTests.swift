import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import TLS

/// Each alert that settings, certificates or a peer's mistakes can cause: what the refusing side reports, and what the other side receives.
struct AlertsTests {
    private static let versions = [TLSProtocolVersion.tls12, .tls13]

    /// The result of a handshake.
    private struct Outcome: Equatable {
        /// The server's reason, as it is counted; `nil` when it admitted the client.
        var server: TLSHandshakeFailure?
        /// The alert that the client received, or its own reason to refuse.
        var client: TLSError?
    }

    private func outcome(
        _ change: (inout TLSServerSettings) throws -> Void, client: (inout TLSClientSettings) -> Void = { _ in },
        hostname: String = "localhost",
        certificate: ThrowawayCertificate = Contexts.serverCertificate
    ) throws -> Outcome {
        var settings = Contexts.serverSettings(certificate)
        try change(&settings)
        var failures: [TLSHandshakeFailure?] = []
        let pair = try BackToBack(
            client: TLSHandler(client: Contexts.client(client), hostname: hostname),
            server: TLSHandler(server: TLSContext(server: settings), onHandshake: { failure, _ in failures.append(failure) }))
        try pair.connect()
        // Reported once, and both ends are closed, or both are open.
        #expect(failures.count == 1)
        #expect(pair.server.recorder.errors.count == (failures == [nil] ? 0 : 1))
        #expect(pair.client.channel.isActive == (failures == [nil]))
        #expect(pair.server.channel.isActive == (failures == [nil]))
        return Outcome(server: failures.first ?? nil, client: pair.client.recorder.errors.first)
    }

    // MARK: What a server refuses

    @Test("protocol_version: no version in common")
    func protocolVersion() throws {
        let outcome = try outcome({ $0.maxVersion = .tls12 }, client: { $0.minVersion = .tls13 })
        #expect(outcome == Outcome(server: .version, client: .alertReceived("protocol version")))
    }

    @Test("the error of a peer without a common version says so")
    func noCommonVersion() throws {
        let pair = try BackToBack(
            client: Contexts.client { $0.minVersion = .tls13 }, server: Contexts.server { $0.maxVersion = .tls12 })
        try pair.connect()
        #expect(pair.server.recorder.errors == [.handshakeFailed("the peer speaks no version of TLS that is allowed here")])
    }

    @Test("no_application_protocol: none in common", arguments: versions)
    func noApplicationProtocol(_ version: TLSProtocolVersion) throws {
        let outcome = try outcome(
            {
                $0.maxVersion = version
                $0.applicationProtocols = ["http/1.1"]
            }, client: { $0.applicationProtocols = ["h2"] })
        #expect(outcome == Outcome(server: .applicationProtocol, client: .alertReceived("no application protocol")))
    }

    @Test("handshake_failure: no suite, no curve, no signature in common")
    func handshakeFailure() throws {
        func failure(_ client: OpenSSLClient, _ context: TLSContext = Contexts.server) throws -> [TLSHandshakeFailure?] {
            let served = try serve(client, by: context)
            #expect(client.failure?.hasSuffix("alert handshake failure") == true, "\(client.failure ?? "connected")")
            return served.outcomes.all
        }
        #expect(try failure(OpenSSLClient(version: 0x0303, suites: "AES128-SHA256")) == [.cipherSuite])
        #expect(try failure(OpenSSLClient(version: 0x0303, suites: "ECDHE-RSA-AES128-GCM-SHA256")) == [.cipherSuite])
        #expect(try failure(OpenSSLClient(version: 0x0304, suites13: "TLS_AES_128_CCM_SHA256")) == [.cipherSuite])
        #expect(try failure(OpenSSLClient(version: 0x0304, groups: "X448")) == [.curve])
        #expect(try failure(OpenSSLClient(version: 0x0303, groups: "X448")) == [.curve])
    }

    @Test("a client's certificate on P-521 is accepted; one on a curve that is not allowed is refused with the reason curve")
    func curveOfCertificate() throws {
        let certificate = try Contexts.ca.clientCertificate(key: .p521)
        for version in [Int32(0x0303), 0x0304] {
            for (curves, expected) in [([], nil), (["CurveP256"], version == 0x0303 ? .curve : nil)] as [([String], TLSHandshakeFailure?)] {
                let context = try Contexts.server {
                    $0.clientAuthentication = .requireAndVerify
                    $0.clientAuthorities = Array(Contexts.ca.certificatePEM.utf8)
                    $0.curves = curves
                }
                let served = try serve(OpenSSLClient(version: version, certificate: certificate), by: context)
                #expect(served.outcomes.all == [expected], "version \(version), curves \(curves)")
            }
        }
    }

    @Test("each reason has its own word")
    func words() {
        let words = TLSHandshakeFailure.allCases.map(\.word)
        #expect(Set(words).count == words.count)
        #expect(words.allSatisfy { $0.allSatisfy { $0 == "_" || ("a"..."z").contains($0) } })
        #expect(TLSHandshakeFailure.alert(.unknownCA).word == "alert_unknown_ca")
    }

    @Test("what is wrong with a client's certificate, or that there is none", arguments: versions)
    func clientCertificates(_ version: TLSProtocolVersion) throws {
        let revoked = try Contexts.ca.clientCertificate()
        let list = try Contexts.ca.revocationList(revoking: [revoked])
        let oldList = try Contexts.ca.revocationList(validity: .expired)
        let named = try Contexts.ca.clientCertificate(names: ["prom.example"])
        let none: (inout TLSServerSettings) -> Void = { _ in }
        let cases: [(String, ThrowawayCertificate?, TLSHandshakeFailure?, String?, (inout TLSServerSettings) -> Void)] = [
            ("a good one", named, nil, nil, none),
            // RFC 8446 section 6.2 has an alert for it.
            ("none", nil, .noCertificate, version == .tls13 ? "certificate required" : "handshake failure", none),
            ("of another authority", try Contexts.otherCA.clientCertificate(), .certificateUntrusted, "unknown CA", none),
            ("expired", try Contexts.ca.clientCertificate(validity: .expired), .certificateExpired, "certificate expired", none),
            ("not yet valid", try Contexts.ca.clientCertificate(validity: .notYet), .certificateExpired, "bad certificate", none),
            ("a server's", Contexts.serverCertificate, .certificateUntrusted, "unsupported certificate", none),
            ("revoked", revoked, .certificateRevoked, "certificate revoked", { $0.clientRevocations = Array(list.utf8) }),
            ("list out of date", named, .revocationUnknown, "certificate expired", { $0.clientRevocations = Array(oldList.utf8) }),
            ("name", named, .nameNotAllowed, "handshake failure", { $0.allowedClientNames = ["other.example"] }),
        ]
        for (name, certificate, failure, alert, change) in cases {
            let outcome = try outcome(
                {
                    $0.maxVersion = version
                    $0.clientAuthentication = .requireAndVerify
                    $0.clientAuthorities = Array(Contexts.ca.certificatePEM.utf8)
                    change(&$0)
                },
                client: {
                    $0.certificateChain = certificate.map { Array($0.chainPEM.utf8) }
                    $0.privateKey = certificate.map { Array($0.privateKeyPEM.utf8) }
                })
            #expect(outcome == Outcome(server: failure, client: alert.map { .alertReceived($0) }), "\(name)")
        }
    }

    // MARK: What a client refuses

    @Test("what is wrong with a server's certificate", arguments: versions)
    func serverCertificates(_ version: TLSProtocolVersion) throws {
        let cases: [(String, ThrowawayCertificate, String, String)] = [
            ("another authority", try Contexts.otherCA.serverCertificate(), "localhost", "unknown CA"),
            ("expired", try Contexts.ca.serverCertificate(validity: .expired), "localhost", "certificate expired"),
            ("not yet valid", try Contexts.ca.serverCertificate(validity: .notYet), "localhost", "bad certificate"),
            ("a client's", try Contexts.ca.clientCertificate(names: ["localhost"]), "localhost", "unsupported certificate"),
            ("another name", Contexts.serverCertificate, "other.example", "bad certificate"),
            ("another address", Contexts.serverCertificate, "192.0.2.7", "bad certificate"),
        ]
        for (name, certificate, hostname, alert) in cases {
            var failures: [TLSHandshakeFailure?] = []
            let context = try Contexts.server(certificate) { $0.maxVersion = version }
            let pair = try BackToBack(
                client: TLSHandler(client: Contexts.client, hostname: hostname),
                server: TLSHandler(server: context, onHandshake: { failure, _ in failures.append(failure) }))
            try pair.connect()
            guard case .peerNotVerified = pair.client.recorder.errors.first else {
                Issue.record("\(name): \(pair.client.recorder.seen)")
                continue
            }
            #expect(
                failures == [.alert(TLSAlert.allCases.first { alert.lowercased() == $0.word.replacing("_", with: " ") } ?? .other)],
                "\(name)")
            #expect(pair.server.recorder.errors == [.alertReceived(alert)], "\(name)")
        }
    }

    // MARK: What breaks the protocol

    /// The server's answer to bytes of a client: the last record, when it is an alert that is not encrypted.
    private func answer(to bytes: [UInt8]) throws -> (alert: UInt8?, failure: TLSHandshakeFailure?) {
        var failures: [TLSHandshakeFailure?] = []
        let loop = EmbeddedEventLoop()
        let server = try End(TLSHandler(server: Contexts.server, onHandshake: { failure, _ in failures.append(failure) }), loop: loop)
        defer { server.finish() }
        try server.activate()
        server.receive(ByteBuffer(bytes: bytes))
        loop.run()
        #expect(failures.count == 1)
        #expect(server.recorder.errors.count == 1)
        guard let sent = try server.takeOutbound()?.readableBytesView.suffix(7), sent.starts(with: [0x15]), sent.count == 7 else {
            return (nil, failures.first ?? nil)
        }
        return (sent.last, failures.first ?? nil)
    }

    private static func record(_ kind: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [kind, 3, 1, UInt8(bytes.count >> 8), UInt8(bytes.count & 0xff)] + bytes
    }

    /// A ClientHello of TLS 1.2, valid except for what the test changes.
    private static func hello(suites: [UInt8] = [0xc0, 0x2b], compression: [UInt8] = [0], extensions: [UInt8]) -> [UInt8] {
        let body =
            [3, 3] + [UInt8](repeating: 7, count: 32) + [0, 0, UInt8(suites.count)] + suites + [UInt8(compression.count)] + compression
            + [UInt8(extensions.count >> 8), UInt8(extensions.count & 0xff)] + extensions
        return record(22, [1, 0, UInt8(body.count >> 8), UInt8(body.count & 0xff)] + body)
    }

    @Test("malformed, unexpected and contradictory messages are refused")
    func brokenMessages() throws {
        let groups: [UInt8] = [0, 10, 0, 4, 0, 2, 0, 29]
        let signatures: [UInt8] = [0, 13, 0, 4, 0, 2, 4, 3]
        let cases: [(String, [UInt8], UInt8?, TLSHandshakeFailure)] = [
            ("unexpected_message: data first", Self.record(23, [1, 2, 3]), 10, .protocolError),
            ("unexpected_message: a server's hello", Self.record(22, [2, 0, 0, 4, 0, 0, 0, 0]), 10, .protocolError),
            ("unexpected_message: the end first", Self.record(22, [20, 0, 0, 12] + [UInt8](repeating: 0, count: 12)), 10, .protocolError),
            ("decode_error: cut short", Self.record(22, [1, 0, 0, 5, 3, 3, 0, 0, 0]), 50, .protocolError),
            ("decode_error: lengths that lie", Self.hello(extensions: [0, 10, 0, 4, 0, 9, 0, 29]), 50, .protocolError),
            ("decode_error: no compression at all", Self.hello(compression: [], extensions: groups + signatures), 50, .protocolError),
            ("illegal_parameter: twice the same", Self.hello(extensions: groups + groups), 47, .protocolError),
            ("record_overflow", [22, 3, 1, 0xff, 0xff] + [UInt8](repeating: 1, count: 100), 22, .protocolError),
            ("no TLS", Array("SSH-2.0-OpenSSH_9\r\n".utf8), nil, .notTLS),
        ]
        for (name, bytes, alert, failure) in cases {
            let answer = try answer(to: bytes)
            #expect(answer.alert == alert, "\(name)")
            #expect(answer.failure == failure, "\(name)")
        }
    }

    @Test("bad_record_mac: a record that was changed on its way", arguments: versions, [true, false])
    func changedRecord(_ version: TLSProtocolVersion, byClient: Bool) throws {
        let pair = try BackToBack(server: Contexts.server { $0.maxVersion = version })
        try pair.connect()
        let (from, to) = byClient ? (pair.client, pair.server) : (pair.server, pair.client)
        _ = from.write("hello")
        var record = try #require(try from.takeOutbound())
        record.setInteger(record.getInteger(at: record.writerIndex - 1, as: UInt8.self)! ^ 1, at: record.writerIndex - 1)
        to.receive(record)
        try pair.interact()
        #expect(to.recorder.text == "")
        guard case .protocolViolation? = to.recorder.errors.first else {
            Issue.record("\(to.recorder.seen)")
            return
        }
        #expect(from.recorder.errors == [.alertReceived("bad record mac")])
        #expect(!from.channel.isActive && !to.channel.isActive)
    }

    @Test("close_notify ends a handshake as any other alert does", arguments: versions)
    func closeNotify(_ version: TLSProtocolVersion) throws {
        let closeNotify = ByteBuffer(bytes: [0x15, 0x03, 0x03, 0x00, 0x02, 0x01, 0x00])
        var failures: [TLSHandshakeFailure?] = []
        let pair = try BackToBack(
            client: TLSHandler(client: Contexts.client, hostname: "localhost"),
            server: TLSHandler(
                server: Contexts.server { $0.maxVersion = version }, onHandshake: { failure, _ in failures.append(failure) }))
        try pair.server.activate()
        try pair.client.activate()
        pair.server.receive(try #require(try pair.client.takeOutbound()))
        pair.server.receive(closeNotify)
        pair.client.receive(closeNotify)
        pair.loop.run()
        #expect(failures == [.alert(.closeNotify)])
        for end in [pair.server, pair.client] {
            #expect(end.recorder.errors == [.alertReceived("close notify")])
            #expect(!end.channel.isActive)
        }
    }

    @Test("an alert is reported that came before a write failed, while the handshake was being read", arguments: [true, false])
    func alertBeforeFailedWrite(isReset: Bool) throws {
        let pair = try BackToBack(
            server: Contexts.server {
                $0.clientAuthentication = .requireAndVerify
                $0.clientAuthorities = Array(Contexts.ca.certificatePEM.utf8)
            })
        try pair.server.activate()
        try pair.client.activate()
        _ = pair.client.write("hello")
        pair.server.receive(try #require(try pair.client.takeOutbound()))
        var failures: [any Error] = []
        // As SwiftNIO does: the bytes that have arrived are read, and then the end is reported, within the write.
        pair.client.bottom.onWrite = { [unowned pair] bytes, context in
            pair.client.bottom.onWrite = nil
            pair.server.receive(bytes)
            do {
                while let answer = try pair.server.takeOutbound() { context.fireChannelRead(NIOAny(answer)) }
            } catch { failures.append(error) }
            if isReset { context.fireChannelInactive() } else { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        }
        pair.client.receive(try #require(try pair.server.takeOutbound()))
        #expect(failures.isEmpty)
        #expect(pair.client.recorder.errors == [.alertReceived("certificate required")])
    }

    @Test("an alert that OpenSSL has no text for is reported by its number")
    func unknownAlert() throws {
        let pair = try BackToBack()
        try pair.client.activate()
        pair.client.receive(ByteBuffer(bytes: [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0xc8]))
        #expect(pair.client.recorder.errors == [.alertReceived("number 200")])
    }
}
