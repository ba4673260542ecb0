import Glibc
import NIOCore
import NIOPosix
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("PushHandler")
struct PushHandlerTests {
    @Test("success is silent: the end of the connection means that all was applied", arguments: [false, true])
    func success(onUnixSocket: Bool) async throws {
        try await withReceiver(onUnixSocket: onUnixSocket) { receiver in
            let answer = try await receiver.push(#"{"a": "a 1", "b": ["b 1", "b 2"]} {"c": ""}"#)
            #expect(answer == "")
            #expect(receiver.text == "a 1\nb 1\nb 2\n")
            let source = receiver.store.snapshot(at: SystemClock.now()).entries.first?.source
            #expect(source == .push(listener: receiver.receiver.listener.name))
            #expect(receiver.log.all.isEmpty)
        }
    }

    @Test("a message is applied as soon as it is complete, in whatever pieces it comes")
    func pieces() async throws {
        try await withReceiver { receiver in
            let connection = try await receiver.connect()
            for byte in #"{"a": "a 1"}"#.utf8 { try await connection.send([byte]) }
            try await wait(for: "the push") { receiver.text == "a 1\n" }
            try await connection.send(#"{"a": "#)
            try await connection.send(#""a 2"} "#)
            try await wait(for: "the next push") { receiver.text == "a 2\n" }
            #expect(!connection.hasEnded)
            await connection.close()
        }
    }

    @Test("what was complete stays applied when the rest is cut short")
    func halfClose() async throws {
        try await withReceiver { receiver in
            let answer = try await receiver.push(#"{"a": "a 1"} {"b": "b"#)
            #expect(answer == "error: \(Rejection.truncated.line)\n")
            #expect(receiver.text == "a 1\n")
            #expect(receiver.log.all.count == 1)
        }
    }

    @Test("the error line survives what the sender still writes", arguments: [false, true])
    func errorLineSurvives(onUnixSocket: Bool) async throws {
        try await withReceiver(onUnixSocket: onUnixSocket) { receiver in
            let connection = try await receiver.connect()
            try await connection.send("nonsense")
            try await connection.until("\n")
            // Had the proxy closed at once, this would be answered by a reset.
            for _ in 0..<50 { try? await connection.send(String(repeating: "x", count: 60_000)) }
            try? await connection.endSending()
            #expect(try await connection.untilEnd().hasPrefix("error: malformed JSON"))
            #expect(connection.error == nil)
            await connection.close()
        }
    }

    @Test("a large push that is refused is read on until the sender hears of it")
    func largeRefused() async throws {
        try await withReceiver(.patient.with { $0.maxMessageSize = .kibibytes(64) }) { receiver in
            let answer = try await receiver.push("{\"a\": \"" + String(repeating: "x", count: 5_000_000) + "\"}")
            #expect(answer == "error: \(Rejection.messageTooLarge(limit: .kibibytes(64)).line)\n")
            #expect(receiver.store.snapshot(at: SystemClock.now()).entries.isEmpty)
        }
    }

    @Test("every refusal is one line, is logged, and changes nothing")
    func refusals() async throws {
        try await withReceiver(limits: StoreLimits(maxApps: 1, maxTotalSize: ByteCount(10))) { receiver in
            #expect(try await receiver.push(#"{"a": "a 1"}"#) == "")
            for push in ["[]", #"{"a": 5}"#, #"{"b": "x"}"#, #"{"a": "1234567890"}"#, #"{"a": "\u0000"}"#, #"{"": "x"}"#, "\u{0}\u{0}"] {
                let answer = try await receiver.push(push)
                #expect(
                    answer.hasPrefix("error: ") && answer.hasSuffix("\n") && answer.filter { $0 == "\n" }.count == 1, "\(push): \(answer)")
            }
            #expect(receiver.text == "a 1\n")
            #expect(receiver.log.all.count == 7)
            let reasons = receiver.log.all.compactMap { $0.firstMatch(of: #/reason=(\w+)/#).map { String($0.1) } }
            #expect(reasons == ["malformed", "malformed", "too_many_apps", "store_full", "nul_byte", "invalid_name", "malformed"])
        }
    }

    @Test("Cap'n Proto comes through in pieces too")
    func capnp() async throws {
        // As pycapnp writes `appName="app", data="a 1\n"`.
        let message: [UInt8] = [
            0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 5, 0, 0, 0, 0x22, 0, 0, 0, 5, 0, 0, 0, 0x2A, 0, 0, 0, 0x61, 0x70, 0x70, 0, 0, 0,
            0, 0,
            0x61, 0x20, 0x31, 0x0A, 0, 0, 0, 0,
        ]
        try await withReceiver(.patient.with { $0.format = .capnp }) { receiver in
            let connection = try await receiver.connect()
            for byte in message { try await connection.send([byte]) }
            try await wait(for: "the push") { receiver.text == "a 1\n" }
            await connection.close()
            #expect(try await receiver.push(#"{"a": "a 1"}"#).hasPrefix("error: these bytes look like JSON"))
            #expect(try await receiver.push(message.dropLast()) == "error: \(Rejection.truncated.line)\n")
        }
    }

    // MARK: Time and memory

    @Test("incomplete messages of all connections share max_inflight_size: the newest is refused, then there is room again")
    func inflight() async throws {
        try await withReceiver(inflight: 1500) { receiver in
            let first = try await receiver.connect()
            try await first.send("{\"a\": \"" + String(repeating: "x", count: 700))
            // What counts is the memory that they take.
            try await wait(for: "the first to be held") { receiver.inflight.used == 1024 }
            let second = try await receiver.connect()
            try await second.send("{\"b\": \"" + String(repeating: "y", count: 700))
            #expect(try await second.untilEnd() == "error: \(Rejection.tooMuchInFlight(limit: ByteCount(1500)).line)\n")
            await second.close()
            try await first.send("\"}")
            try await wait(for: "the first to be applied") { receiver.store.snapshot(at: SystemClock.now()).entries.count == 1 }
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
            // A complete message needs no room, however large.
            #expect(try await receiver.push("{\"c\": \"\(String(repeating: "z", count: 900))\"}") == "")
            await first.close()
        }
    }

    @Test("a connection that breaks gives back what it held")
    func brokenConnection() async throws {
        try await withReceiver { receiver in
            let connection = try await receiver.connect()
            try await connection.send(#"{"a": "x"#)
            try await wait(for: "the beginning to be held") { receiver.inflight.used > 0 }
            await connection.close()
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
            try await wait(for: "a line in the log") { receiver.log.all.contains { $0.contains("reason=truncated") } }
        }
    }

    @Test("a reset within a message is logged and counted as its end is")
    func reset() async throws {
        try await withReceiver { receiver in
            let sender = try RawConnection(to: receiver.receiver.listener.name)
            try sender.send(#"{"a": "x"#)
            try await wait(for: "the beginning to be held") { receiver.inflight.used > 0 }
            sender.reset()
            try await wait(for: "a line in the log") { receiver.log.all.contains { $0.contains("reason=truncated") } }
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
        }
    }

    @Test("at concurrent_requests further connections wait until one ends, and lose nothing")
    func backPressure() async throws {
        try await withReceiver(maxConnections: 2) { receiver in
            let open = [try await receiver.connect(), try await receiver.connect()]
            for (index, connection) in open.enumerated() { try await connection.send("{\"open\(index)\": \"1\"}") }
            try await wait(for: "both to be served") { receiver.store.snapshot(at: SystemClock.now()).entries.count == 2 }

            let third = try await receiver.connect()
            try await third.send(#"{"third": "3"}"#)
            try await third.endSending()
            // The open ones go on while it waits.
            try await open[0].send(#"{"open0": "2"}"#)
            try await wait(for: "the open one") { receiver.text.contains("2\n") }
            #expect(receiver.receiver.listener.openConnections == 2)
            #expect(!third.hasEnded)

            await open[0].close()
            #expect(try await third.untilEnd() == "")
            #expect(receiver.text.contains("3\n"))
            for connection in [open[1], third] { await connection.close() }
        }
    }

    @Test("a drain lets a message in flight finish, and closes who is between messages")
    func drain() async throws {
        try await withReceiver { receiver in
            let idle = try await receiver.connect()
            try await idle.send(#"{"idle": "1"}"#)
            let busy = try await receiver.connect()
            try await busy.send(#"{"busy": "#)
            try await wait(for: "both to be read") { receiver.inflight.used > 0 && receiver.text == "1\n" }
            async let cut = receiver.receiver.listener.drain(within: .seconds(60))
            #expect(try await idle.untilEnd() == "")
            try await busy.send(#""2"}"#)
            #expect(try await busy.untilEnd() == "")
            #expect(await cut == 0)
            #expect(receiver.text == "2\n1\n")
            for connection in [idle, busy] { await connection.close() }
        }
    }

    @Test("a receiver that closes takes the pushes of all connections that it has accepted")
    func acceptedAtTheEnd() async throws {
        for round in 0..<20 {
            try await withReceiver(starts: false) { receiver in
                var pushes: [PeerConnection] = []
                for index in 0..<4 {
                    pushes.append(try await receiver.connect())
                    try await pushes[index].send("{\"app\(index)\": \"x 1\"}")
                    try await pushes[index].endSending()
                }
                receiver.receiver.start()
                // It closes before, between and after the four.
                try await wait(for: "connections") { receiver.receiver.listener.openConnections + receiver.store.count >= round % 5 }
                #expect(await receiver.receiver.listener.drain(within: .seconds(60)) == 0)
                for push in pushes {
                    #expect(try await push.untilEnd() == "")
                    #expect(push.error == nil)
                    await push.close()
                }
                #expect(receiver.store.count == 4)
            }
        }
    }

    @Test("at the limit, what waits is accepted while the listener closes, however long the open messages take", arguments: [false, true])
    func closesAtTheLimit(onUnixSocket: Bool) async throws {
        // It ends after the second for which a listener accepts where new connections may come all the time.
        let settings = ReceiverSettings.patient.with { $0.times.message = .milliseconds(1500) }
        try await withReceiver(settings, onUnixSocket: onUnixSocket, maxConnections: 1) { receiver in
            let (open, waiting) = try await fill(receiver)
            async let cut = receiver.receiver.listener.drain(within: .seconds(60))
            #expect(try await open.untilEnd() == "error: \(Rejection.timedOut(.message).line)\n")
            await open.close()
            #expect(try await waiting.untilEnd() == "")
            #expect(receiver.text == "1\n")
            #expect(await cut == 0)
            await waiting.close()
        }
    }

    @Test("a drain that still accepts can be hastened by another")
    func hastenedAtTheLimit() async throws {
        try await withReceiver(maxConnections: 1) { receiver in
            let (open, waiting) = try await fill(receiver)
            async let first = receiver.receiver.listener.drain(within: .seconds(3600))
            #expect(await receiver.receiver.listener.drain(within: .milliseconds(10)) == 1)
            #expect(await first == 0)
            #expect(try await open.untilEnd() == "error: \(Rejection.timedOut(.closing).line)\n")
            for connection in [open, waiting] { await connection.close() }
        }
    }

    /// - Returns: a connection within a message, which takes the only place, and one with a complete message that waits.
    private func fill(_ receiver: TestReceiver) async throws -> (open: PeerConnection, waiting: PeerConnection) {
        let open = try await receiver.connect()
        try await open.send(#"{"open": "#)
        try await wait(for: "the beginning to be read") { receiver.inflight.used > 0 }
        let waiting = try await receiver.connect()
        try await waiting.send(#"{"waiting": "1"}"#)
        try await waiting.endSending()
        return (open, waiting)
    }

    @Test("connections that send nothing make room for those that wait while the listener closes")
    func idleAtTheLimit() async throws {
        try await withReceiver(maxConnections: 1) { receiver in
            var connections: [PeerConnection] = []
            for _ in 0..<4 { connections.append(try await receiver.connect()) }
            try await connections[3].send(#"{"last": "1"}"#)
            try await connections[3].endSending()
            #expect(await receiver.receiver.listener.drain(within: .seconds(60)) == 0)
            #expect(try await connections[3].untilEnd() == "")
            #expect(receiver.text == "1\n")
            for connection in connections { await connection.close() }
        }
    }

    @Test(
        "after a change of access the message in flight is the last one, also when others come in the same bytes; white space is none",
        arguments: [3, 300 << 10], [#"{"after": "2"}{"again": "3"}"#, "\n"])
    func accessChanged(size: Int, rest: String) async throws {
        try await withReceiver(inflight: 64 << 20) { receiver in
            let connection = try await receiver.connect()
            try await connection.send(#"{"begun": "#)
            try await wait(for: "the beginning to be read") { receiver.inflight.used > 0 }
            receiver.receiver.update(.patient, maxConnections: 100, accessChanged: true)
            // The connection has heard of it by the end of what its event loop had to do.
            for eventLoop in MultiThreadedEventLoopGroup.singleton.makeIterator() { try await eventLoop.submit {}.get() }
            let text = String(repeating: "1", count: size)
            try await connection.send("\"\(text)\"}\(rest)")
            #expect(try await connection.untilEnd() == (rest == "\n" ? "" : "error: \(Rejection.accessChanged.line)\n"))
            #expect(receiver.text == "\(text)\n")
            await connection.close()
        }
    }

    @Test("an open connection takes over a new largest size and new times with the next bytes that it receives", arguments: [false, true])
    func newSettings(isLarge: Bool) async throws {
        try await withReceiver { receiver in
            let connection = try await receiver.connect()
            try await connection.send(#"{"a": "1"}"#)
            try await wait(for: "the first message") { receiver.received == 1 }
            let new = ReceiverSettings.patient.with {
                $0.maxMessageSize = ByteCount(20)
                $0.times.idle = .milliseconds(100)
            }
            receiver.receiver.update(new, maxConnections: 100, accessChanged: false)
            try await connection.send(isLarge ? #"{"a": "2", "b": "3", "c": "# : #"{"a": "2"} "#)
            let answer = try await connection.untilEnd()
            #expect(answer == (isLarge ? "error: \(Rejection.messageTooLarge(limit: ByteCount(20)).line)\n" : ""))
            #expect(receiver.text == (isLarge ? "1\n" : "2\n"))
            await connection.close()
        }
    }

    @Test("a byte now and then does not keep a message alive beyond message_timeout")
    func slowMessage() async throws {
        try await withReceiver(.patient.with { $0.times.message = .milliseconds(300) }) { receiver in
            let connection = try await receiver.connect()
            try await connection.send(#"{"kept": "1"} {"lost": ""#)
            while !connection.hasEnded {
                try? await connection.send("x")
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(connection.text == "error: \(Rejection.timedOut(.message).line)\n")
            #expect(receiver.text == "1\n")
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
            await connection.close()
        }
    }

    // MARK: Large messages and many small ones

    @Test("a large message is applied in its order, among small ones", arguments: [PushFormat.json, .capnp])
    func large(format: PushFormat) async throws {
        try await withReceiver(.patient.with { $0.format = format }, inflight: 64 << 20) { receiver in
            let large = String(repeating: "a_total 1\n", count: 300_000)
            var stream: [UInt8] = []
            for metrics in ["a 1\n", large, "a 2\n"] {
                var encoder = try PushEncoder(app: try AppName.named("a"), metrics: ByteBuffer(string: metrics), format: format)
                while let piece = encoder.next() { stream += piece.readableBytesView }
            }
            #expect(try await receiver.push(stream) == "")
            #expect(receiver.text == "a 2\n")
            #expect(receiver.received == 3)
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
            // Alone, it stays.
            #expect(try await receiver.push("{\"b\": 5}").hasPrefix("error: "))
            var encoder = try PushEncoder(app: try AppName.named("a"), metrics: ByteBuffer(string: large), format: format)
            stream = []
            while let piece = encoder.next() { stream += piece.readableBytesView }
            #expect(try await receiver.push(stream) == "")
            #expect(receiver.text == large)
        }
    }

    @Test("the memory of a large message is given back when it is applied, not at the end of its connection")
    func largeIsGivenBack() async throws {
        try await withReceiver(.patient, inflight: 64 << 20) { receiver in
            let connection = try await receiver.connect()
            try await connection.send(Array(#"{"a": "\#(String(repeating: "a_total 1\\n", count: 300_000))"}"#.utf8))
            try await wait(for: "the push") { receiver.received == 1 }
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
            try await connection.send(Array(#"{"b": "b 1"}"#.utf8))
            try await connection.endSending()
            #expect(try await connection.untilEnd() == "")
        }
    }

    @Test("a message of very many apps is refused at max_apps, and its memory given back")
    func manyApps() async throws {
        try await withReceiver(inflight: 64 << 20, limits: StoreLimits(maxApps: 5000)) { receiver in
            let apps = "{" + (0..<200_000).map { "\"\($0)\":\"\"" }.joined(separator: ",") + "}"
            #expect(try await receiver.push(apps) == "error: \(Rejection.tooManyApps(limit: 5000).line)\n")
            #expect(receiver.store.snapshot(at: SystemClock.now()).entries.isEmpty)
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
        }
    }

    @Test("a large message that does not fit max_inflight_size is refused, however it comes", arguments: [50_000, 80_000, 400_000])
    func largeBeyondInflight(size: Int) async throws {
        try await withReceiver(inflight: 40_000) { receiver in
            let apps = (0..<2000).map { "\"\($0)\":\"\"" }.joined(separator: ",")
            let message = "{\(apps),\"x\":\"\(String(repeating: "x", count: size - 20_000))\"}"
            #expect(try await receiver.push(message) == "error: \(Rejection.tooMuchInFlight(limit: ByteCount(40_000)).line)\n")
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
            #expect(receiver.text == "")
        }
    }

    @Test("very many small messages are all applied, and others have their turn meanwhile")
    func manySmall() async throws {
        try await withReceiver(inflight: 64 << 20) { receiver in
            let stream = Array(String(repeating: "{}", count: 200_000).utf8) + Array(#"{"end": "1"}"#.utf8)
            let busy = try await receiver.connect()
            async let sent: Void = busy.send(stream)
            // On the same event loop or not: it is answered while the other is at work, or after it.
            #expect(try await receiver.push(#"{"other": "1"}"#) == "")
            try await sent
            try await busy.endSending()
            #expect(try await busy.untilEnd() == "")
            #expect(receiver.received == 200_002)
            #expect(receiver.text == "1\n1\n")
            try await wait(for: "nothing to be held") { receiver.inflight.used == 0 }
            await busy.close()
        }
    }

    // MARK: Other protocols

    @Test("an HTTP request is answered in HTTP", arguments: [PushFormat.json, .capnp])
    func http(format: PushFormat) async throws {
        try await withReceiver(.patient.with { $0.format = format }) { receiver in
            let answer = try await receiver.push("PUT /metrics/job/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\na 1\n")
            let body = "error: \(Rejection.wrongFormat(.http, expected: format).line)\n"
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: \(body.utf8.count)\r\n"
            #expect(answer == head + "Connection: close\r\n\r\n" + body)
        }
    }

    @Test("a sender on a Unix socket is known by its process, user and groups")
    func sender() async throws {
        try await withReceiver(onUnixSocket: true) { receiver in
            _ = try await receiver.push(#"{"a": "1"}"#)
            let entry = try #require(receiver.store.snapshot(at: SystemClock.now()).entries.first)
            guard case .process(let process)? = entry.sender?.peer else {
                Issue.record("the sender is \(String(describing: entry.sender))")
                return
            }
            #expect(process.process == getpid() && process.user == geteuid() && process.group == getegid())
        }
        try await withReceiver { receiver in
            _ = try await receiver.push(#"{"a": "1"}"#)
            let entry = try #require(receiver.store.snapshot(at: SystemClock.now()).entries.first)
            #expect(entry.sender?.description.hasPrefix("127.0.0.1:") == true)
        }
    }
}
