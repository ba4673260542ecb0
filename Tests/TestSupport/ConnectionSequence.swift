import HTTP
import NIOCore

/// Drives a `ServerConnection` through events that bytes choose, as a channel and a peer might cause them in any order, and checks after
/// each step what must always hold.
public struct ConnectionSequence {
    /// The largest amount that may wait to be read: a head or what a client sends ahead, and one read beside it, rounded up.
    private static let maxHeldForReading = 1 << 20
    private static let maxBody = 100

    private var connection = ServerConnection(
        timeouts: .init(head: .seconds(1), idle: .seconds(2), write: .seconds(4), response: .seconds(10)), maxBody: maxBody)
    private var now = NIODeadline.uptimeNanoseconds(0)
    private var isWritable = true
    /// Whether the connection has let the channel read.
    private var reads = false
    /// Whether the channel will ask for the next read at the end of this step.
    private var hasRead = false
    private var awaitsAnswer = false
    /// Of writes that the kernel has not taken.
    private var reports: [Int] = []
    private var isClosed = false
    private var timer: TimeAmount?
    private let lease = PieceLease(isStored: false)
    /// What the pieces of the response on its way hold, as an owner of the connection counts it.
    private var held: [(bytes: Int, lease: PieceLease?)] = []
    private var counted = 0
    private var written = 0

    private init() {}

    /// Runs one sequence to its end.
    /// - Returns: the rule that was broken; `nil` when all held.
    public static func run(_ choices: some Sequence<UInt8>) -> String? {
        var sequence = ConnectionSequence()
        sequence.connection.opened(handshakeTimeout: nil)
        sequence.requestRead()
        var iterator = choices.makeIterator()
        while let choice = iterator.next() {
            if let broken = sequence.step(choice, iterator.next() ?? 0) { return broken }
        }
        if let broken = sequence.finish() { return broken }
        sequence.connection.ended()
        sequence.count()
        if sequence.counted != 0 { return "\(sequence.counted) bytes of answers are still counted at the end" }
        if sequence.connection.heldForReading != 0 { return "bytes are still held at the end" }
        if sequence.connection.next(isWritable: true) != nil { return "an action after the end" }
        return nil
    }

    /// Whatever has happened: with a turn, an answer and a reader that takes everything, the exchange under way ends.
    private mutating func finish() -> String? {
        for _ in 0..<1000 where !isClosed {
            isWritable = true
            connection.resumed(at: now)
            if !reports.isEmpty { take() }
            if let broken = act(2) { return broken }
            if !awaitsAnswer, !connection.hasLargeResponse { return nil }
            if awaitsAnswer { respond(1) }
        }
        return isClosed ? nil : "an exchange does not end"
    }

    private static let texts = [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\nG", "GET / HTTP/1.0\r\n\r\n", "\r\n", "{",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", "abc",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n", "0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "ET / HTTP/1.1\r\nHost: h\r\n\r\nG", "POST / HTTP/1.1\r\nHo",
    ]

    private mutating func step(_ choice: UInt8, _ argument: UInt8) -> String? {
        switch choice % 16 {
        case 0, 1, 2, 3: receive(String(Self.texts[Int(argument) % Self.texts.count]))
        case 4: receive(String(repeating: Self.texts[Int(argument) % Self.texts.count], count: 100))
        case 5: requestRead()
        case 6, 7: if awaitsAnswer { respond(argument) }
        case 8: connection.resumed(at: now)
        case 9: isWritable = argument % 2 == 0
        case 10: if !reports.isEmpty { take() }
        case 11:
            if let timer {
                now = now + timer
                self.timer = nil
                connection.timerExpired()
            }
        case 12: connection.inputEnded()
        case 13: connection.drain(.init(newPause: .seconds(1), keptPause: .milliseconds(1), isFinal: argument % 2 == 0))
        case 14: if argument % 4 == 0 { connection.refuseReading() } else if argument % 4 == 1 { connection.cutSlowReader() }
        default: if argument % 32 == 0 { connection.abort() }
        }
        let broken = act(argument)
        if hasRead {
            hasRead = false
            requestRead()
        }
        return broken
    }

    private mutating func receive(_ text: String) {
        guard !isClosed, reads else { return }
        reads = false
        connection.received(ByteBuffer(string: text), at: .uptimeNanoseconds(0))
        hasRead = true
    }

    private mutating func requestRead() {
        if !isClosed, connection.readRequested() { reads = true }
    }

    private mutating func respond(_ argument: UInt8) {
        awaitsAnswer = false
        var response = Response.text(200, "x")
        if argument % 4 == 0 {
            response = Response(
                status: 200, body: Array(repeating: ByteBuffer(repeating: 0x61, count: 100_000), count: 10), contentLength: 1_000_000)
            response.leases = Array(repeating: lease, count: 5)
        }
        connection.respond(with: response, date: "", allocator: ByteBufferAllocator())
    }

    private mutating func act(_ argument: UInt8) -> String? {
        var actions = 0
        var hasHadTurn = false
        while let action = connection.next(isWritable: isWritable) {
            actions += 1
            if actions > 10_000 { return "a turn does not end" }
            if isClosed { return "an action after the close: \(action)" }
            switch action {
            case .head, .body: if argument % 64 == 1 { respond(1) }
            case .end, .refuse: awaitsAnswer = true
            case .write(let bytes, let report):
                if let report { reports.append(report) }
                written += bytes.readableBytes
                if written > OutgoingResponse.channelWindow { isWritable = false }
            case .flush:
                while !reports.isEmpty, argument % 2 == 0 { take() }
                if argument % 8 == 5 { connection.isInLargeTurn = false }
                written = 0
            case .sample: connection.sampled(WriteProgress(buffered: Int(argument) % 3, acknowledged: 0), at: now)
            case .timer(let time): timer = time
            case .close, .cut: isClosed = true
            case .takeTurn:
                if hasHadTurn || argument % 8 == 3 { connection.endTurn() } else { connection.isInLargeTurn = true }
                hasHadTurn = true
            case .read: reads = true
            case .yield, .closeOutput: break
            }
        }
        connection.isInLargeTurn = false
        count()
        if connection.heldForReading > Self.maxHeldForReading { return "\(connection.heldForReading) bytes wait to be read" }
        if counted < 0 { return "more was released than held" }
        return nil
    }

    private mutating func take() { connection.taken(reports.removeFirst()) }

    /// Counts as the owner of connections does.
    private mutating func count() {
        for piece in held { counted += piece.lease?.release() ?? -piece.bytes }
        held = connection.slowResponse?.held ?? []
        for piece in held { counted += piece.lease?.hold(bytes: piece.bytes) ?? piece.bytes }
    }
}
