import NIOCore
import Testing

@testable import HTTP

@Suite("ClientConnection")
struct ClientConnectionTests {
    private static let request = ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    private func sent(keepsConnection: Bool = true) -> ClientConnection {
        var connection = ClientConnection(awaitsOpening: false)
        #expect(connection.send(Self.request, keepsConnection: keepsConnection) == Self.request)
        return connection
    }

    /// All that the connection says to some bytes, in words; the pieces of a body joined. A body is discarded at its head with `discarding`.
    private func steps(_ connection: inout ClientConnection, _ pieces: [String], discarding: Bool = false) -> [String] {
        var steps: [String] = []
        for piece in pieces {
            connection.receive(ByteBuffer(string: piece))
            reading: while true {
                switch connection.next() {
                case .wait: break reading
                case .head(let head):
                    steps.append("head \(head.status)")
                    if discarding { connection.discardBody() }
                case .body(let piece):
                    if let last = steps.last, last.hasPrefix("body") {
                        steps.removeLast(); steps.append(last + String(buffer: piece))
                    } else {
                        steps.append("body \(String(buffer: piece))")
                    }
                case .complete:
                    steps.append("complete")
                    break reading
                case .failed(let error):
                    steps.append("failed \(error)")
                    break reading
                }
            }
        }
        return steps
    }

    private static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n"
    private static let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n"

    @Test(
        "a response, and whether the connection can be used again",
        arguments: [
            ([ok], ["head 200", "body a 1\n", "complete"], .idle), ([chunked], ["head 200", "body a 1\n", "complete"], .idle),
            (Array(chunked.map(String.init)), ["head 200", "body a 1\n", "complete"], .idle),
            (["HTTP/1.1 204 No Content\r\n\r\n"], ["head 204", "complete"], .idle),
            (["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"], ["head 200", "complete"], .closed),
            // What follows was not asked for.
            ([ok + "H"], ["head 200", "body a 1\n", "complete"], .closed),
            // Chunked and a length: it is read, and the connection is not used again.
            (
                ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n"],
                ["head 200", "body a 1\n", "complete"], .closed
            ), (["HTTP/1.1 103 Early Hints\r\n\r\n", ok], ["head 200", "body a 1\n", "complete"], .idle),
            (["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na"], ["head 200", "body a"], .readingBody),
            (["HTTP/1.1 200 OK\r\n"], [], .awaitingHead),
        ] as [([String], [String], ClientConnection.Phase)])
    func response(pieces: [String], expected: [String], phase: ClientConnection.Phase) {
        var connection = sent()
        #expect(steps(&connection, pieces) == expected)
        #expect(connection.phase == phase)
    }

    @Test("a request that must not keep the connection closes it")
    func closing() {
        var connection = sent(keepsConnection: false)
        #expect(steps(&connection, [Self.ok]) == ["head 200", "body a 1\n", "complete"])
        #expect(connection.phase == .closed)
    }

    @Test("one request after another")
    func again() {
        var connection = sent()
        for _ in 0..<3 {
            #expect(connection.hasReceived == false)
            #expect(steps(&connection, [Self.ok]) == ["head 200", "body a 1\n", "complete"])
            #expect(connection.hasReceived && connection.phase == .idle && connection.held == 0)
            #expect(connection.send(Self.request, keepsConnection: true) == Self.request)
        }
    }

    @Test("a request waits until the connection is open")
    func opening() {
        var connection = ClientConnection(awaitsOpening: true)
        #expect(connection.phase == .opening)
        #expect(connection.send(Self.request, keepsConnection: true) == nil)
        #expect(connection.phase == .opening)
        #expect(connection.opened() == Self.request)
        #expect(connection.phase == .awaitingHead)
        #expect(connection.opened() == nil)
        var unused = ClientConnection(awaitsOpening: true)
        #expect(unused.opened() == nil)
        #expect(unused.phase == .idle)
    }

    @Test("bytes that no request asked for end the connection", arguments: [true, false])
    func unexpected(awaitsOpening: Bool) {
        var connection = ClientConnection(awaitsOpening: awaitsOpening)
        #expect(steps(&connection, ["HTTP/1.1 200 OK\r\n"]) == ["failed unexpectedBytes"])
        #expect(connection.phase == .closed && connection.held == 0)
        #expect(steps(&connection, ["x"]) == [])
    }

    @Test("a body that is not needed is read to keep the connection, up to a limit")
    func discarded() {
        let most = ClientConnection.maxDiscarded
        func run(_ pieces: [String]) -> (steps: [String], phase: ClientConnection.Phase) {
            var connection = sent()
            let steps = steps(&connection, pieces, discarding: true)
            return (steps, connection.phase)
        }
        func head(_ length: Int) -> String { "HTTP/1.1 503 X\r\nContent-Length: \(length)\r\n\r\n" }
        let text = String(repeating: "x", count: most + 1)
        #expect(run([Self.ok]) == (["head 200", "complete"], .idle))
        #expect(run([head(most), String(text.dropLast())]) == (["head 503", "complete"], .idle))
        // A longer one is not waited for.
        #expect(run([head(most + 1)]) == (["head 503", "complete"], .closed))
        #expect(run(["HTTP/1.1 503 X\r\n\r\n"]) == (["head 503", "complete"], .closed))
        let chunks = "HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(run([chunks, String(most + 1, radix: 16) + "\r\n", text]) == (["head 503", "complete"], .closed))
        #expect(run([chunks, "z\r\n"]) == (["head 503", "complete"], .closed))
        #expect(run([chunks, "1\r\n"]) == (["head 503"], .readingBody))
    }

    @Test(
        "the end of the connection",
        arguments: [
            ([], true, .endedBeforeHead), ([], false, .endedBeforeHead), (["HTTP/1.1 200 OK\r\n"], true, .endedBeforeHead),
            (["HTTP/1.1 200 OK\r\n\r\na 1\n"], true, nil), (["HTTP/1.1 200 OK\r\n\r\na 1\n"], false, .endedWithinBody(isFramed: false)),
            (["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na"], true, .endedWithinBody(isFramed: true)),
            (["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n"], true, .endedWithinBody(isFramed: true)),
            ([ok], true, nil),
        ] as [([String], Bool, ClientError?)])
    func ended(pieces: [String], isClean: Bool, expected: ClientError?) {
        var connection = sent()
        _ = steps(&connection, pieces)
        #expect(connection.ended(isClean: isClean) == expected)
        #expect(connection.phase == .closed && connection.held == 0)
        #expect(connection.ended(isClean: true) == nil)
    }

    @Test("the end while it opens concerns the request that waits")
    func endedWhileOpening() {
        var connection = ClientConnection(awaitsOpening: true)
        _ = connection.send(Self.request, keepsConnection: true)
        #expect(connection.ended(isClean: true) == .endedWhileOpening)
        var unused = ClientConnection(awaitsOpening: true)
        #expect(unused.ended(isClean: true) == nil)
    }

    @Test("what cannot be read says so, and informational responses are limited")
    func failures() {
        var connection = sent()
        #expect(steps(&connection, ["SSH-2.0"]) == ["failed response(HTTP.ResponseError.malformed(\"it does not begin with HTTP/\"))"])
        let early = "HTTP/1.1 103 Early Hints\r\n\r\n"
        let most = ClientConnection.maxInformational
        connection = sent()
        #expect(steps(&connection, Array(repeating: early, count: most) + [Self.ok]).last == "complete")
        connection = sent()
        #expect(steps(&connection, Array(repeating: early, count: most + 1)) == ["failed tooManyInformationalResponses"])
    }

    // MARK: What is held

    /// The most that a connection holds while pieces come that end anywhere.
    private func mostHeld(_ head: String, repeating piece: String, times: Int) -> Int {
        var connection = sent()
        var most = 0
        var text = head + String(piece.prefix(1))
        for _ in 0..<times {
            _ = steps(&connection, [text])
            #expect(connection.phase != .closed)
            most = max(most, connection.held)
            text = String(piece.dropFirst()) + String(piece.prefix(1))
        }
        return most
    }

    @Test("what was read is not held, although the peer never lets the buffer become empty")
    func consumedBytesAreDropped() {
        let extensions = String(repeating: "x", count: 240)
        let chunk = "1;\(extensions)\r\na\r\n"
        let chunks = String(repeating: chunk, count: 128)
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(mostHeld(chunked, repeating: chunks, times: 100) <= 4 * chunks.utf8.count)
        #expect(mostHeld(chunked, repeating: chunk, times: 10_000) <= 4096)
        // Informational heads are the only other thing that may come again and again.
        let early = "HTTP/1.1 103 Early Hints\r\nLink: <\(extensions)>\r\n\r\n"
        #expect(mostHeld("", repeating: early, times: ClientConnection.maxInformational - 1) <= 4096)
    }

    @Test("a head that comes byte by byte is held once, and ends at its limit")
    func headByteByByte() {
        var connection = sent()
        var steps = steps(&connection, ["HTTP/1.1 200 OK\r\nX: "])
        var most = 0
        for _ in 0..<ResponseDecoder.maxHead where steps.isEmpty {
            steps = self.steps(&connection, ["x"])
            most = max(most, connection.held)
        }
        #expect(steps == ["failed response(HTTP.ResponseError.headTooLarge(limit: \(ResponseDecoder.maxHead)))"])
        #expect(most <= 2 * ResponseDecoder.maxHead)
    }
}

@Suite("ClientTunnel")
struct ClientTunnelTests {
    @Test(
        "the proxy's answer",
        arguments: [
            ("HTTP/1.1 200 Connection established\r\n\r\n", .open), ("HTTP/1.0 200 OK\r\n\r\n", .open),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", .open), ("HTTP/1.1 200 OK\r\n", .wait),
            ("HTTP/1.1 200 OK\r\n\r\nx", .failed(.unexpectedBytes)),
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno\n",
                .refused(status: 407, reason: "Proxy Authentication Required")
            ), ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", .refused(status: 302, reason: "Found")),
            ("SSH-2.0", .failed(.response(.malformed("it does not begin with HTTP/")))),
        ] as [(String, ClientTunnel.Step)])
    func answer(text: String, expected: ClientTunnel.Step) {
        var whole = ClientTunnel()
        #expect(whole.receive(ByteBuffer(string: text)) == expected)
        var tunnel = ClientTunnel()
        var step = ClientTunnel.Step.wait
        for byte in text.utf8 where step == .wait { step = tunnel.receive(ByteBuffer(bytes: [byte])) }
        // Whether something follows is seen only when it has come.
        #expect(step == (expected == .failed(.unexpectedBytes) ? .open : expected))
    }
}
