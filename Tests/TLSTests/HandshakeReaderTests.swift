import NIOCore
import Testing

@testable import TLS

/// What is read of a handshake before OpenSSL sees it, event by event, without a channel.
struct HandshakeReaderTests {
    private typealias Step = HandshakeReader.Step

    /// A record of TLS.
    private static func record(_ kind: UInt8 = 22, _ payload: [UInt8]) -> [UInt8] {
        [kind, 3, 3, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)] + payload
    }

    /// A handshake message, or its beginning.
    private static func message(_ kind: UInt8 = 1, announcing length: Int, sending count: Int? = nil) -> [UInt8] {
        [kind, UInt8(length >> 16), UInt8(length >> 8 & 0xff), UInt8(length & 0xff)] + [UInt8](repeating: 7, count: count ?? length)
    }

    /// A payload cut into records of `size` bytes.
    private static func records(of payload: [UInt8], size: Int) -> [UInt8] {
        stride(from: 0, to: payload.count, by: size).flatMap { record(22, Array(payload[$0..<min($0 + size, payload.count)])) }
    }

    /// All steps that follow when `bytes` come in pieces, up to the first that waits or refuses after the last piece.
    private func steps(
        _ reader: inout HandshakeReader, _ bytes: [UInt8], pieces: Int = .max, isTLS12: Bool = false
    ) -> (passed: [UInt8], last: Step) {
        var passed: [UInt8] = []
        var rest = bytes[...]
        while true {
            reader.receive(ByteBuffer(bytes: rest.prefix(pieces)))
            rest = rest.dropFirst(pieces)
            inner: while true {
                switch reader.next(isTLS12: { isTLS12 }) {
                case .pass(let unit): passed += unit.readableBytesView
                case .refuse(let refusal): return (passed, .refuse(refusal))
                case .wait:
                    if rest.isEmpty { return (passed, .wait) }
                    break inner
                }
            }
        }
    }

    private func refusal(_ bytes: [UInt8], afterHello: Bool = false, pieces: Int = .max, isServer: Bool = true) -> HandshakeReader.Refusal?
    {
        var reader = HandshakeReader(isServer: isServer)
        if afterHello { _ = steps(&reader, Self.record(22, Self.message(announcing: 10))) }
        if case .refuse(let refusal) = steps(&reader, bytes, pieces: pieces).last { return refusal }
        return nil
    }

    private func alert(_ refusal: HandshakeReader.Refusal?) -> TLSAlert? {
        if case .alert(let alert, _, _) = refusal { alert } else { nil }
    }

    @Test("a message passes when all of it has come, however it is cut", arguments: [1, 2, 3, 4, 7, 100, 1500, .max], [1, 3, 400, 16384])
    func whole(pieces: Int, recordSize: Int) {
        let hello = Self.records(of: Self.message(announcing: 1500), size: recordSize)
        var reader = HandshakeReader(isServer: true)
        let (early, last) = steps(&reader, Array(hello.dropLast()), pieces: pieces)
        #expect(early.isEmpty && last == .wait)
        let (passed, end) = steps(&reader, Array(hello.suffix(1)))
        #expect(passed == hello && end == .wait)
        #expect(reader.heldBytes == 0)
    }

    @Test("a message may have 16 KiB, and not a byte more", arguments: [0, 1])
    func limit(excess: Int) {
        let hello = Self.records(of: Self.message(announcing: HandshakeReader.maxMessage + excess), size: 1000)
        var reader = HandshakeReader(isServer: true)
        let (passed, last) = steps(&reader, hello, pieces: 900)
        if excess == 0 {
            #expect(passed == hello && last == .wait)
        } else {
            #expect(passed.isEmpty)
            guard case .refuse(.alert(.illegalParameter, .messageTooLarge, _)) = last else {
                Issue.record("\(last)")
                return
            }
        }
    }

    @Test("an announced length is refused before the message comes")
    func announced() {
        // 43 bytes that announce 131,000.
        let attack = Self.record(22, Self.message(announcing: 131_000, sending: 34))
        #expect(attack.count == 43)
        for pieces in [1, 5, 43] { #expect(alert(refusal(attack, pieces: pieces)) == .illegalParameter) }
        // Behind a HelloRetryRequest, with the ChangeCipherSpec of middlebox compatibility before it, and behind rejected early data.
        #expect(alert(refusal(attack, afterHello: true)) == .illegalParameter)
        #expect(alert(refusal(Self.record(20, [1]) + attack, afterHello: true)) == .illegalParameter)
        #expect(alert(refusal(Self.record(23, [1, 2, 3]) + attack, afterHello: true)) == .illegalParameter)
        // In one record with a good message.
        let two = Self.record(22, Self.message(announcing: 5) + Self.message(announcing: 131_000, sending: 1))
        #expect(alert(refusal(two)) == .illegalParameter)
    }

    @Test("a Certificate message has a limit of its own, for clients and for servers")
    func certificates() {
        for (isServer, limit) in [
            (true, HandshakeReader.maxCertificateMessage.client), (false, HandshakeReader.maxCertificateMessage.server),
        ] {
            let good = Self.records(of: Self.message(11, announcing: limit), size: 16384)
            #expect(refusal(good, afterHello: isServer, isServer: isServer) == nil)
            let bad = Self.record(22, Self.message(11, announcing: limit + 1, sending: 0))
            #expect(alert(refusal(bad, afterHello: isServer, isServer: isServer)) == .illegalParameter)
        }
    }

    @Test("framing that outweighs the message is refused")
    func framing() {
        let crumbs = Self.records(of: Self.message(announcing: HandshakeReader.maxMessage, sending: 16000), size: 1)
        #expect(alert(refusal(crumbs, pieces: 1000)) == .illegalParameter)
    }

    @Test("what a server refuses before a ClientHello")
    func beforeHello() {
        let cases: [(String, [UInt8], HandshakeReader.Refusal?, TLSAlert?)] = [
            ("plain HTTP", Array("GET / HTTP/1.1\r\n".utf8), .plainHTTP, nil),
            ("SSH", Array("SSH-2.0-x\r\n".utf8), .notTLS, nil),
            ("another version", [22, 2, 0, 0, 5], .notTLS, nil),
            ("SSL 2.0", [0x80, 46, 1, 3, 1], nil, .protocolVersion),
            ("data", Self.record(23, [1, 2, 3]), nil, .unexpectedMessage),
            ("an alert", Self.record(21, [2, 40]), nil, .unexpectedMessage),
            ("an empty record", [22, 3, 1, 0, 0], nil, .unexpectedMessage),
            ("a record that is too long", [22, 3, 1, 0x40, 1], nil, .recordOverflow),
            ("a server's hello", Self.record(22, Self.message(2, announcing: 4)), nil, .unexpectedMessage),
        ]
        for (name, bytes, expected, expectedAlert) in cases {
            for pieces in [1, 2, .max] {
                let refusal = refusal(bytes, pieces: pieces)
                #expect(refusal != nil, "\(name)")
                if let expected { #expect(refusal == expected, "\(name)") }
                #expect(alert(refusal) == expectedAlert, "\(name)")
            }
        }
    }

    @Test("another record within a message is refused")
    func interleaved() {
        let begun = Self.record(22, Self.message(announcing: 100, sending: 10))
        #expect(alert(refusal(begun + Self.record(23, [1]), afterHello: true)) == .unexpectedMessage)
    }

    @Test("in TLS 1.2 everything passes from ChangeCipherSpec on, in TLS 1.3 handshake records are still read")
    func changeCipherSpec() {
        let encrypted = Self.record(22, [0xff, 0xff, 0xff, 0xff, 1, 2, 3])
        let flight = Self.record(22, Self.message(16, announcing: 66)) + Self.record(20, [1]) + encrypted
        for isTLS12 in [true, false] {
            var reader = HandshakeReader(isServer: true)
            _ = steps(&reader, Self.record(22, Self.message(announcing: 10)))
            let (passed, last) = steps(&reader, flight, isTLS12: isTLS12)
            if isTLS12 {
                #expect(passed == flight && last == .wait)
            } else {
                guard case .refuse = last else {
                    Issue.record("\(last)")
                    return
                }
            }
        }
    }

    @Test("a client asks for the version only when OpenSSL has read the ServerHello")
    func clientBoundary() {
        var reader = HandshakeReader(isServer: false)
        let hello = Self.record(22, Self.message(2, announcing: 70))
        let rest = Self.record(20, [1]) + Self.record(23, [9, 9])
        var hasRead = false
        reader.receive(ByteBuffer(bytes: hello + rest))
        let first = reader.next {
            Issue.record("asked too early")
            return hasRead
        }
        #expect(first == .pass(ByteBuffer(bytes: hello)))
        hasRead = true
        #expect(reader.next { false } == .pass(ByteBuffer(bytes: rest)))
    }

    @Test("OpenSSL reads what comes before a refused record, however the bytes are cut")
    func beforeRefusal() {
        let good = Self.record(22, Self.message(16, announcing: 66))
        let bad = Self.record(22, Self.message(announcing: 131_000, sending: 1))
        for pieces in [1, 50, Int.max] {
            var reader = HandshakeReader(isServer: true)
            _ = steps(&reader, Self.record(22, Self.message(announcing: 10)))
            let (passed, last) = steps(&reader, good + bad, pieces: pieces)
            #expect(passed == good)
            guard case .refuse(.alert(.illegalParameter, .messageTooLarge, _)) = last else {
                Issue.record("\(last)")
                return
            }
        }
    }

    @Test("only what was sent is held")
    func held() {
        var reader = HandshakeReader(isServer: true)
        var network = ByteBuffer()
        network.reserveCapacity(65536)
        network.writeBytes(Self.record(22, Self.message(announcing: 1000, sending: 34)))
        reader.receive(network)
        #expect(reader.next { false } == .wait)
        #expect((43...256).contains(reader.heldBytes))
    }
}
