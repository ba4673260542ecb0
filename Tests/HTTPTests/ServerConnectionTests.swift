import HTTP
import NIOCore
import Testing

/// What follows from each event, without a channel.
@Suite("ServerConnection")
struct ServerConnectionTests {
    private enum Event {
        case opened(handshake: Int64? = nil)
        case handshakeCompleted
        case received(String, at: Int64 = 0)
        case holdBody
        case releaseBody(at: Int64 = 0)
        case respond(Response)
        case taken
        case resumed
        case resumedAt(Int64)
        case inputEnded
        case drain(isFinal: Bool)
        case timerExpired
        case sampled(buffered: Int, acknowledged: UInt64, at: Int64)
        case writable(Bool)
        case refuseReading
        case cutSlowReader
        case abort
    }

    private static let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
    private static let put = "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
    private static let answer = Response.text(200, "x")
    /// Head and body are two pieces.
    private static let ofTwoPieces = Response(status: 200, body: [ByteBuffer(repeating: 0x61, count: 100_000)], contentLength: 100_000)
    /// Of four pieces of 300 KB: two fill the channel.
    private static let large = Response(
        status: 200, body: Array(repeating: ByteBuffer(repeating: 0x61, count: 300_000), count: 4), contentLength: 1_200_000)

    private static func connection(body: TimeAmount? = nil, stall: TimeAmount? = nil) -> ServerConnection {
        ServerConnection(
            timeouts: .init(
                head: .seconds(10), body: body, stall: stall, idle: .seconds(360), write: .seconds(60), response: .seconds(100)),
            maxBody: 10)
    }

    /// One that is about to write the large response.
    private static func connectionWithLargeResponse() -> ServerConnection {
        var connection = connection()
        connection.received(ByteBuffer(string: get), at: .uptimeNanoseconds(0))
        while connection.next(isWritable: true) != nil {}
        connection.respond(with: large, date: "", allocator: ByteBufferAllocator())
        return connection
    }

    /// Tells each event, and compares the actions that follow.
    /// - Parameter takesAtOnce: whether the kernel has taken a response as soon as it is flushed.
    private func check(
        _ steps: [(Event, [String])], takesAtOnce: Bool = true, _ start: ServerConnection = connection(),
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var connection = start
        var isWritable = true
        /// Of writes that the kernel has not taken.
        var reports: [Int] = []
        for (index, (event, expected)) in steps.enumerated() {
            tell(event, &connection, &isWritable)
            var actions: [String] = []
            while let action = connection.next(isWritable: isWritable), actions.count < 100 {
                actions.append(Self.word(action))
                if case .write(let bytes, let report) = action {
                    if let report { reports.append(report) }
                    if bytes.readableBytes >= 300_000, !takesAtOnce { isWritable = false }
                }
                if case .flush = action, takesAtOnce {
                    for report in reports { connection.taken(report) }
                    reports = []
                }
                if case .takeTurn = action { connection.isInLargeTurn = true }
            }
            connection.isInLargeTurn = false
            #expect(actions == expected, "step \(index): \(event)", sourceLocation: sourceLocation)
        }
    }

    private func tell(_ event: Event, _ connection: inout ServerConnection, _ isWritable: inout Bool) {
        switch event {
        case .opened(let handshake): connection.opened(handshakeTimeout: handshake.map { .seconds($0) })
        case .handshakeCompleted: connection.handshakeCompleted()
        case .received(let text, let time):
            connection.received(ByteBuffer(string: text), at: .uptimeNanoseconds(0) + .seconds(time))
        case .holdBody: connection.holdBody()
        case .releaseBody(let time): connection.releaseBody(at: .uptimeNanoseconds(0) + .seconds(time))
        case .respond(let response): connection.respond(with: response, date: "now", allocator: ByteBufferAllocator())
        case .taken: connection.taken(1)
        case .resumed: connection.resumed(at: .uptimeNanoseconds(0))
        case .resumedAt(let time): connection.resumed(at: .uptimeNanoseconds(0) + .seconds(time))
        case .inputEnded: connection.inputEnded()
        case .drain(let isFinal):
            connection.drain(.init(newPause: .seconds(isFinal ? 3 : 1), keptPause: .seconds(isFinal ? 4 : 2), isFinal: isFinal))
        case .timerExpired: connection.timerExpired()
        case .sampled(let buffered, let acknowledged, let time):
            connection.sampled(
                WriteProgress(buffered: buffered, acknowledged: acknowledged), at: .uptimeNanoseconds(0) + .seconds(time))
        case .writable(let value): isWritable = value
        case .refuseReading: connection.refuseReading()
        case .cutSlowReader: connection.cutSlowReader()
        case .abort: connection.abort()
        }
    }

    private static func word(_ action: ServerConnection.Action) -> String {
        switch action {
        case .head(let head): "head \(head.method) \(head.target)"
        case .body(let piece): "body \(String(buffer: piece))"
        case .end: "end"
        case .refuse(let error): "refuse \(error.status)"
        case .write(let bytes, _):
            "write \(bytes.readableBytes > 1000 ? "piece" : String(String(buffer: bytes).dropFirst(9).prefix(3)))"
        case .flush: "flush"
        case .sample: "sample"
        case .timer(let time): "timer \(time.map { "\($0.nanoseconds / 1_000_000_000)" } ?? "none")"
        case .read: "read"
        case .takeTurn: "take turn"
        case .yield: "yield"
        case .closeOutput: "close output"
        case .close: "close"
        case .cut(let reason): "cut \(reason.rawValue)"
        }
    }

    @Test("one request after another")
    func exchanges() {
        check([
            (.opened(), ["timer 10"]), (.received(Self.get), ["head GET /a", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "timer 360"]), (.received("GET /b HT"), ["timer 10"]),
            (.received("TP/1.1\r\nHost: h\r\n\r\n"), ["head GET /b", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "timer 360"]), (.timerExpired, ["close"]), (.received(Self.get), []),
        ])
    }

    @Test("each request that comes in pieces has the whole time of a head")
    func slowRequests() {
        let slow: [(Event, [String])] = [
            (.received("GET /a HT"), ["timer 10"]), (.received("TP/1.1\r\nHost: h\r\n\r\n"), ["head GET /a", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "timer 360"]),
        ]
        check(slow + slow + [(.received("GET"), ["timer 10"]), (.timerExpired, ["refuse 408"])])
    }

    @Test("requests that come together wait for a turn each, and nothing more is read meanwhile")
    func pipelining() {
        check([
            (.received(Self.get + Self.get + "\r\n"), ["head GET /a", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "timer 360", "yield"]), (.received(""), []),
            (.resumed, ["head GET /a", "end", "timer none"]), (.respond(Self.answer), ["write 200", "flush", "timer 360", "yield"]),
            (.resumed, []), (.timerExpired, ["close"]),
        ])
        var connection = Self.connection()
        let readsAtFirst = connection.readRequested()
        #expect(readsAtFirst)
        connection.received(ByteBuffer(string: Self.get + "GE"), at: .uptimeNanoseconds(0))
        while connection.next(isWritable: true) != nil {}
        let readsWhileAnswering = connection.readRequested()
        #expect(!readsWhileAnswering)
        connection.respond(with: Self.answer, date: "", allocator: ByteBufferAllocator())
        while connection.next(isWritable: true) != nil {}
        connection.taken(1)
        while connection.next(isWritable: true) != nil {}
        let readsWhileYielding = connection.readRequested()
        #expect(!readsWhileYielding)
        connection.resumed(at: .uptimeNanoseconds(0))
        var actions: [String] = []
        while let action = connection.next(isWritable: true) { actions.append(Self.word(action)) }
        #expect(actions == ["timer 10", "read"])
    }

    @Test("a body is handed on; 100 Continue is sent when the client waits for it and is not refused")
    func bodies() {
        check([
            (.received(Self.put + "\r\nab"), ["head PUT /a", "body ab", "timer 10"]), (.received("c"), ["body c", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "timer 360"]),
        ])
        let waiting = Self.put + "Expect: 100-continue\r\n\r\n"
        check([
            (.received(waiting), ["head PUT /a", "write 100", "flush", "timer 10"]), (.received("abc"), ["body abc", "end", "timer none"]),
        ])
        check([(.received(waiting + "abc"), ["head PUT /a", "body abc", "end", "timer none"])])
        var refusing = Self.connection()
        refusing.received(ByteBuffer(string: waiting), at: .uptimeNanoseconds(0))
        guard case .head? = refusing.next(isWritable: true) else { return #expect(Bool(false)) }
        check(
            [(.respond(.text(401, "")), ["write 401", "flush", "timer 2", "close output", "read"])], refusing)
    }

    @Test("the next bytes of a body have a time of their own, which ends with that of the whole")
    func stall() {
        check(
            [
                (.received(Self.put + "\r\na", at: 100), ["head PUT /a", "timer 5", "body a"]),
                (.received("b", at: 104), ["timer 5", "body b"]), (.received("", at: 108), ["timer 2"]),
                (.timerExpired, ["refuse 408"]),
            ], Self.connection(body: .seconds(10), stall: .seconds(5)))
        for (time, isStalled) in [(Int64(104), true), (108, false)] {
            var connection = Self.connection(body: .seconds(10), stall: .seconds(5))
            connection.received(ByteBuffer(string: Self.put + "\r\na"), at: .uptimeNanoseconds(0) + .seconds(100))
            while connection.next(isWritable: true) != nil {}
            connection.received(ByteBuffer(), at: .uptimeNanoseconds(0) + .seconds(time))
            connection.timerExpired()
            var refused: RequestError?
            while let action = connection.next(isWritable: true) { if case .refuse(let error) = action { refused = error } }
            #expect(refused?.isStalled == isStalled)
        }
    }

    @Test("a body is not read, nor asked for, while its request is being decided about")
    func heldBody() {
        let waiting = Self.put + "Expect: 100-continue\r\n\r\n"
        func held() -> ServerConnection {
            var connection = Self.connection(body: .seconds(30))
            connection.received(ByteBuffer(string: waiting), at: .uptimeNanoseconds(0))
            guard case .head? = connection.next(isWritable: true) else { return connection }
            connection.holdBody()
            return connection
        }
        check(
            [
                (.received(""), ["timer none"]), (.releaseBody(), ["timer 30", "write 100", "flush"]),
                (.received("abc"), ["body abc", "end", "timer none"]),
            ], held())
        check(
            [
                (.received(""), ["timer none"]), (.releaseBody(), ["timer 30", "write 100", "flush"]), (.timerExpired, ["refuse 408"]),
            ], held())
        // The answer may come instead.
        var refused = held()
        while refused.next(isWritable: true) != nil {}
        let reads = refused.readRequested()
        #expect(!reads)
        refused.releaseBody(at: .uptimeNanoseconds(0))
        check([(.respond(.text(401, "")), ["timer 30", "write 401", "flush", "timer 2", "close output", "read"])], refused)
    }

    @Test("the time of a body starts when it is released, however long the decision took")
    func slowDecision() {
        func held(stall: TimeAmount?) -> ServerConnection {
            var connection = Self.connection(body: .seconds(30), stall: stall)
            connection.received(ByteBuffer(string: Self.put + "\r\n"), at: .uptimeNanoseconds(0))
            guard case .head? = connection.next(isWritable: true) else { return connection }
            connection.holdBody()
            return connection
        }
        check(
            [
                (.received("a", at: 20), ["timer none"]), (.releaseBody(at: 100), ["timer 5", "body a"]),
                (.received("b", at: 104), ["timer 5", "body b"]), (.received("", at: 127), ["timer 3"]),
                (.received("c", at: 129), ["timer 1", "body c", "end", "timer none"]),
            ], held(stall: .seconds(5)))
        // Without a limit for the next bytes, the whole time counts from the release.
        check(
            [
                (.received(""), ["timer none"]), (.releaseBody(at: 100), ["timer 30"]), (.received("a", at: 120), ["body a"]),
                (.timerExpired, ["refuse 408"]),
            ], held(stall: nil))
        for (stall, isStalled) in [(Int64(5), true), (40, false)] {
            var connection = held(stall: .seconds(stall))
            connection.releaseBody(at: .uptimeNanoseconds(0) + .seconds(100))
            connection.timerExpired()
            var refused: RequestError?
            while let action = connection.next(isWritable: true) { if case .refuse(let error) = action { refused = error } }
            #expect(refused?.isStalled == isStalled)
        }
    }

    @Test("the time of a request that was sent with the one before begins after the answer to that one, however late it comes")
    func pipelinedBody() {
        let first = "\(Self.put)\r\nabc"
        let begun = ["head PUT /a", "timer 5", "body a"]
        check(
            [
                (.received("\(first)\(Self.put)\r\na"), ["head PUT /a", "timer 5", "body abc", "end", "timer none"]),
                (.respond(Self.answer), ["write 200", "flush", "timer 360", "yield"]), (.resumedAt(100), begun),
                (.received("b", at: 104), ["timer 5", "body b"]), (.received("", at: 128), ["timer 2"]),
                (.received("c", at: 129), ["timer 1", "body c", "end", "timer none"]),
            ], Self.connection(body: .seconds(30), stall: .seconds(5)))
    }

    @Test("an answer that comes after the request was refused is ignored")
    func lateAnswer() {
        check([
            (.received(Self.put + "\r\na"), ["head PUT /a", "body a", "timer 10"]), (.refuseReading, ["refuse 503"]),
            (.respond(.text(503, "")), ["write 503", "flush", "timer 2", "close output", "read"]), (.respond(.text(401, "")), []),
        ])
    }

    @Test("a client that ends its side within a head or a body is told")
    func truncated() {
        check([
            (.received("GET"), ["timer 10"]), (.inputEnded, ["refuse 400"]), (.respond(.text(400, "")), ["write 400", "flush", "close"]),
        ])
        check([
            (.received(Self.put + "\r\nab"), ["head PUT /a", "body ab", "timer 10"]), (.inputEnded, ["refuse 400"]),
            (.respond(.text(400, "")), ["write 400", "flush", "close"]),
        ])
    }

    @Test("a body has a time of its own where there is one")
    func bodyTime() {
        check(
            [
                (.received("PUT"), ["timer 10"]), (.received(String(Self.put.dropFirst(3)) + "\r\n"), ["head PUT /a", "timer 20"]),
                (.received("a"), ["body a"]), (.timerExpired, ["refuse 408"]),
            ], Self.connection(body: .seconds(20)))
    }

    @Test("an answer before the body has come ends the connection")
    func earlyAnswer() {
        check([
            (.received(Self.put + "\r\na"), ["head PUT /a", "body a", "timer 10"]),
            (.respond(.text(413, "")), ["write 413", "flush", "timer 2", "close output", "read"]), (.received("bc"), []),
            (.inputEnded, ["close"]),
        ])
    }

    @Test("after a request that makes no sense the answer is sent, and what still comes is thrown away up to a limit")
    func lingering() {
        let before: [(Event, [String])] = [
            (.received("{"), ["refuse 400"]), (.respond(.text(400, "")), ["write 400", "flush", "timer 2", "close output", "read"]),
            (.received(String(repeating: "x", count: 1 << 20)), []),
        ]
        check(before + [(.received("x"), ["close"])])
        check(before + [(.timerExpired, ["close"])])
        check(before + [(.inputEnded, ["close"])])
    }

    @Test("what was asked for is answered after the client has ended its side")
    func halfClose() {
        check([
            (.received(Self.get + Self.get), ["head GET /a", "end", "timer none"]), (.inputEnded, []),
            (.respond(Self.answer), ["write 200", "flush", "timer 360", "yield"]), (.resumed, ["head GET /a", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "close"]),
        ])
        check([(.inputEnded, ["close"])])
        check([(.received("\r\n"), []), (.inputEnded, ["close"])])
    }

    @Test("after a last answer that took time, the output ends, and what the client has sent meanwhile is discarded, until its end")
    func lastLargeAnswer() {
        for text in ["GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"] {
            let answered: [(Event, [String])] = [
                (.received(text), ["head GET /a", "end", "timer none"]),
                (
                    .respond(Self.ofTwoPieces),
                    ["take turn", "write 200", "write piece", "flush", "timer 2", "close output", "read"]
                ),
            ]
            check(answered + [(.inputEnded, ["close"])])
            check(answered + [(.received("\r\n"), []), (.inputEnded, ["close"])])
            check(answered + [(.timerExpired, ["close"])])
            check(answered + [(.received(String(repeating: "x", count: 1 << 20)), []), (.received("x"), ["close"])])
        }
    }

    @Test("after another last answer the connection is closed; one that is followed by more lingers")
    func lastExchange() {
        let close = "GET /a HTTP/1.0\r\n\r\n"
        check([
            (.received(close), ["head GET /a", "end", "timer none"]), (.respond(Self.answer), ["write 200", "flush", "close"]),
        ])
        check([
            (.received(close + "x"), ["head GET /a", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "timer 2", "close output", "read"]),
        ])
    }

    @Test("a drain does not wait for a client that has been answered, unless more bytes of it are likely")
    func drainWhileLingering() {
        let drain = ServerConnection.Drain(newPause: .seconds(1), keptPause: .milliseconds(50), isFinal: false)
        /// The timers after a last answer, and after a drain that follows it.
        func timers(_ request: String, isDraining: Bool) -> [TimeAmount] {
            var connection = Self.connection()
            var timers: [TimeAmount] = []
            func act() {
                while let action = connection.next(isWritable: true) {
                    if case .timer(let time?) = action { timers.append(time) }
                    if case .takeTurn = action { connection.isInLargeTurn = true }
                    if case .flush = action { connection.taken(2) }
                }
            }
            connection.received(ByteBuffer(string: request), at: .uptimeNanoseconds(0))
            act()
            if isDraining { connection.drain(drain) }
            connection.respond(with: Self.ofTwoPieces, date: "", allocator: ByteBufferAllocator())
            act()
            if !isDraining { connection.drain(drain) }
            act()
            return timers
        }
        let last = "GET /a HTTP/1.0\r\n\r\n"
        #expect(timers(last, isDraining: false) == [.seconds(2), .milliseconds(50)])
        #expect(timers(last, isDraining: true) == [.milliseconds(50)])
        for isDraining in [false, true] { #expect(timers(last + "x", isDraining: isDraining) == [.seconds(2)]) }
    }

    @Test("a drain lets the exchange under way finish, and waits a little for a request that may be on its way")
    func draining() {
        check([(.opened(), ["timer 10"]), (.drain(isFinal: false), ["timer 1"]), (.timerExpired, ["close"])])
        check([
            (.received(Self.get), ["head GET /a", "end", "timer none"]), (.drain(isFinal: false), []),
            (.respond(Self.answer), ["write 200", "flush", "close"]),
        ])
        check([
            (.received(Self.get), ["head GET /a", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "timer 360"]), (.drain(isFinal: true), ["timer 4"]),
            // What is final stays so.
            (.drain(isFinal: false), ["timer 4"]), (.received(Self.get), ["head GET /a", "end", "timer none"]),
            (.respond(Self.answer), ["write 200", "flush", "close"]),
        ])
        // The answer has said that the connection is kept.
        let answering: [(Event, [String])] = [
            (.received(Self.get), ["head GET /a", "end", "timer none"]), (.writable(false), []), (.respond(Self.answer), ["sample"]),
        ]
        check(answering + [(.drain(isFinal: false), []), (.writable(true), ["write 200", "flush", "timer 2"])])
        check(
            answering + [(.drain(isFinal: true), []), (.writable(true), ["write 200", "flush", "timer 2", "close output", "read"])])
        check([(.opened(handshake: 5), ["timer 15"]), (.drain(isFinal: false), ["timer 1"]), (.handshakeCompleted, ["timer 1"])])
        check([(.opened(handshake: 5), ["timer 15"]), (.handshakeCompleted, ["timer 10"])])
    }

    @Test("a reader that takes nothing is cut; one that takes something is not, before its whole time is over")
    func slowReader() {
        let start: [(Event, [String])] = [
            (.received(Self.get), ["head GET /a", "end", "timer none"]),
            (.respond(Self.large), ["take turn", "write 200", "write piece", "flush", "sample"]),
        ]
        func steps(_ samples: [(Int, Int64)], _ last: String) -> [(Event, [String])] {
            samples.enumerated().flatMap { index, sample -> [(Event, [String])] in
                let isLast = index == samples.count - 1
                return [
                    (.sampled(buffered: sample.0, acknowledged: 0, at: sample.1), [isLast ? last : "timer 15"]),
                    (.timerExpired, isLast && last.hasPrefix("cut") ? [] : ["sample"]),
                ]
            }
        }
        check(start + steps([(9, 0), (9, 15), (9, 30), (9, 45), (9, 60)], "cut write_timeout"), takesAtOnce: false)
        check(start + steps([(9, 0), (8, 15), (8, 30), (8, 45), (8, 60), (7, 75), (7, 85), (6, 90)], "timer 10"), takesAtOnce: false)
        check(start + steps([(9, 0), (8, 50), (7, 100)], "cut response_timeout"), takesAtOnce: false)
        check(start + [(.cutSlowReader, ["cut max_held_size"]), (.taken, [])], takesAtOnce: false)
    }

    @Test("a large response is flushed now and then, so that a TLS handler can say that it has no room")
    func flushes() {
        check([
            (.received(Self.get), ["head GET /a", "end", "timer none"]),
            (
                .respond(Self.large),
                [
                    "take turn", "write 200", "write piece", "write piece", "flush", "write piece", "write piece", "flush",
                    "timer 360",
                ]
            ),
        ])
    }

    @Test("a large response is written in turns; in between nothing happens, unless the connection ends")
    func turnsOfLargeResponses() {
        var waiting = Self.connectionWithLargeResponse()
        guard case .takeTurn? = waiting.next(isWritable: true) else {
            Issue.record("no turn is asked for")
            return
        }
        #expect(waiting.slowResponse == nil)
        waiting.endTurn()
        #expect(waiting.hasLargeResponse)
        // Others may replace its metrics while it waits.
        #expect(waiting.slowResponse != nil)
        check(
            [
                (.writable(true), ["yield"]), (.writable(true), []), (.received(Self.get), []), (.timerExpired, []),
                (
                    .resumed,
                    [
                        "take turn", "write 200", "write piece", "write piece", "flush", "write piece", "write piece", "flush",
                        "timer 360", "yield",
                    ]
                ), (.resumed, ["head GET /a", "end", "timer none"]),
            ], waiting)
        check([(.writable(true), ["yield"]), (.cutSlowReader, ["cut max_held_size"])], waiting)
        check([(.abort, ["close"])], waiting)
        check([(.received(String(repeating: "x", count: 800 << 10)), ["yield"])], waiting)
    }

    @Test("a large response goes out as fast as it is taken, and what is taken is not held; all else is")
    func backPressure() {
        var connection = Self.connectionWithLargeResponse()
        #expect(connection.slowResponse == nil)
        var held: [Int] = []
        for _ in 0..<5 {
            var isWritable = true
            connection.isInLargeTurn = true
            while let action = connection.next(isWritable: isWritable) {
                // The head, then a piece each time.
                if case .write(let bytes, _) = action, bytes.readableBytes > 1000 { isWritable = false }
            }
            held.append(connection.slowResponse?.held.reduce(0) { $0 + $1.bytes / 300_000 } ?? -1)
        }
        // What a TLS handler keeps is held, although the channel is writable.
        #expect(held == [4, 4, 4, 4, 4])
        held = (1...4).map { end in
            connection.taken(end)
            return connection.slowResponse?.held.reduce(0) { $0 + $1.bytes / 300_000 } ?? -1
        }
        // The head comes first.
        #expect(held == [4, 3, 2, 1])
        connection.taken(5)
        while connection.next(isWritable: true) != nil {}
        #expect(connection.slowResponse == nil)
    }

    @Test("without memory a request is refused; what waits behind another one is refused after its answer", arguments: [false, true])
    func noMemory(inputEnds: Bool) {
        check([(.received("GET"), ["timer 10"]), (.refuseReading, ["refuse 503"])])
        let end: Event = inputEnds ? .inputEnded : .received("x")
        let last: [String] = inputEnds ? ["write 503", "flush", "close"] : ["write 503", "flush", "timer 2", "close output", "read"]
        check([
            (.received(Self.get + Self.get), ["head GET /a", "end", "timer none"]), (end, []), (.refuseReading, []),
            (.received(Self.get), []), (.respond(Self.answer), ["write 200", "flush", "timer none", "refuse 503"]),
            (.respond(.text(503, "")), last),
        ])
        var connection = Self.connection()
        connection.received(ByteBuffer(string: Self.get), at: .uptimeNanoseconds(0))
        while connection.next(isWritable: true) != nil {}
        connection.received(ByteBuffer(string: Self.get), at: .uptimeNanoseconds(0))
        #expect(connection.heldForReading > 0)
        connection.refuseReading()
        connection.received(ByteBuffer(string: Self.get), at: .uptimeNanoseconds(0))
        #expect(connection.heldForReading == 0)
    }

    @Test("all that a client has sent before it ended its side is answered, however much it is")
    func muchWaits() {
        var connection = Self.connection()
        connection.received(ByteBuffer(string: Self.get), at: .uptimeNanoseconds(0))
        while connection.next(isWritable: true) != nil {}
        let padded = "GET /a HTTP/1.1\r\nHost: h\r\nX: \(String(repeating: "x", count: 1000))\r\n\r\n"
        for _ in 0..<1000 { connection.received(ByteBuffer(string: padded), at: .uptimeNanoseconds(0)) }
        connection.inputEnded()
        #expect(connection.next(isWritable: true) == nil)
        #expect(connection.heldForReading > 768 << 10)
        var answers = 0
        var isClosed = false
        for _ in 0...1000 {
            connection.respond(with: Self.answer, date: "", allocator: ByteBufferAllocator())
            while let action = connection.next(isWritable: true) {
                switch action {
                case .write: answers += 1
                case .flush: connection.taken(1)
                case .yield: connection.resumed(at: .uptimeNanoseconds(0))
                case .close: isClosed = true
                default: break
                }
            }
        }
        #expect(answers == 1001 && isClosed)
    }

    @Test("a client that sends many requests at once keeps its connection: two reads of a receiver may wait for an answer")
    func twoReads() {
        var connection = Self.connection()
        connection.received(ByteBuffer(string: Self.get), at: .uptimeNanoseconds(0))
        while connection.next(isWritable: true) != nil {}
        let requests = ByteBuffer(string: String(repeating: Self.get, count: (256 << 10) / Self.get.utf8.count))
        for _ in 0..<2 { connection.received(requests, at: .uptimeNanoseconds(0)) }
        #expect(connection.next(isWritable: true) == nil)
        #expect(connection.heldForReading > 500 << 10)
    }

    @Test("a body of many small chunks waits for its turn in between")
    func chunks() {
        var connection = ServerConnection(
            timeouts: .init(head: .seconds(10), idle: .seconds(360), write: .seconds(60), response: .seconds(100)), maxBody: 1000)
        let head = "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.received(
            ByteBuffer(string: head + String(repeating: "1\r\na\r\n", count: 600) + "0\r\n\r\n"), at: .uptimeNanoseconds(0))
        var turns: [Int] = []
        var pieces = 0
        while let action = connection.next(isWritable: true) {
            switch action {
            case .body: pieces += 1
            case .yield:
                turns.append(pieces)
                let waits = connection.next(isWritable: true) == nil && !connection.readRequested()
                #expect(waits)
                connection.resumed(at: .uptimeNanoseconds(0))
            case .end: turns.append(pieces)
            default: break
            }
        }
        #expect(turns == [256, 512, 600])
    }

    @Test("a request that waits for its turn is neither late nor too large, however long that takes and however much has come")
    func waitingRequest() {
        var connection = Self.connection()
        connection.received(ByteBuffer(string: Self.get + Self.get), at: .uptimeNanoseconds(0))
        while connection.next(isWritable: true) != nil {}
        connection.respond(with: Self.answer, date: "", allocator: ByteBufferAllocator())
        while connection.next(isWritable: true) != nil {}
        connection.taken(1)
        check(
            [
                (.writable(true), ["timer 360", "yield"]), (.drain(isFinal: true), []), (.timerExpired, ["timer 10"]),
                (.received(String(repeating: "x", count: 800 << 10)), []), (.inputEnded, []),
                (.resumed, ["head GET /a", "end", "timer none"]),
            ], connection)
    }

    @Test("a broken connection is closed whatever it does, once")
    func abort() {
        for start in ["", "GET", Self.get, "{", Self.put + "\r\n"] {
            var connection = Self.connection()
            connection.received(ByteBuffer(string: start), at: .uptimeNanoseconds(0))
            while connection.next(isWritable: true) != nil {}
            check([(.abort, ["close"]), (.abort, []), (.received(Self.get), []), (.timerExpired, [])], connection)
        }
    }
}
