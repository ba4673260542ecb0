import HTTP
import NIOCore
import NIOEmbedded
import NIOPosix
import Proxy
import Testing

@testable import Services

/// The time limits of one connection, on a clock that the test moves.
@Suite("HTTPServerHandler")
struct HTTPServerHandlerTests {
    private static let get = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"
    private static let second = TimeAmount.seconds(1)

    /// Between the handler and a reader: takes one piece after another, when the test says so.
    private final class Reader: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private(set) var taken = ByteBuffer()
        private var waiting: [(piece: ByteBuffer, promise: EventLoopPromise<Void>?)] = []
        private var context: ChannelHandlerContext?
        /// Takes whatever comes.
        var isFast = true
        /// Whether the channel stays writable meanwhile, as with a TLS handler that encrypts in turns.
        var staysWritable = false
        /// How long the event loop writes until the kernel has taken what is flushed.
        var flushTime = TimeAmount.zero
        private(set) var flushes = 0

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }

        func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            waiting.append((unwrapOutboundIn(data), promise))
            if !isFast, !staysWritable, let channel = context.channel as? EmbeddedChannel { channel.isWritable = false }
        }

        func flush(context: ChannelHandlerContext) {
            flushes += 1
            EventLoopTurnsTests.work(for: flushTime)
            if isFast { while take() {} }
        }

        /// - Returns: whether there was a piece to take.
        @discardableResult
        func take() -> Bool {
            guard !waiting.isEmpty else { return false }
            var (piece, promise) = waiting.removeFirst()
            taken.writeBuffer(&piece)
            promise?.succeed()
            if waiting.isEmpty, let context, let channel = context.channel as? EmbeddedChannel {
                channel.isWritable = true
                context.pipeline.fireChannelWritabilityChanged()
            }
            return true
        }
    }

    private let channel = EmbeddedChannel()
    private let reader = Reader()
    private let lines = LogLines()
    private let store: MetricStore
    private let held = HeldBytes()
    private let turns: EventLoopTurns.OfGroup

    init() {
        store = MetricStore(answering: held[.answering])
        turns = EventLoopTurns.OfGroup(channel.embeddedEventLoop)
    }

    private var loop: EmbeddedEventLoop { channel.embeddedEventLoop }
    private var text: String { String(buffer: reader.taken) }
    private var statuses: [String] { text.matches(of: #/HTTP/1.1 (\d+)/#).map { String($0.1) } }

    /// Connects with all times but those of the test out of reach.
    /// - Returns: the settings in force.
    @discardableResult
    private func connect(_ change: (inout ScrapeSettings) -> Void) throws -> SettingsInForce<ScrapeSettings> {
        let metrics = SelfMetrics(version: "1", start: SystemClock.time()) { nil }
        metrics.isExposed = false
        let router = Router(
            store: store, lifecycle: DaemonLifecycle(startTime: SystemClock.time(), reloads: metrics.reloads) { true }, metrics: metrics,
            offload: ThreadPoolOffload(.ofTests), clock: SystemClock.now)
        let settings = SettingsInForce(ScrapeSettings.patient.with(change))
        let log = ConnectionLog(logger: lines.logger)
        let exchange = ScrapeExchange(responder: router, requests: metrics.requests, log: log, peer: .unknown, isTLS: false)
        let shared = HTTPServerParts.Shared(
            date: DateText(clock: SystemClock.time), turns: turns, reading: held[.reading],
            slowReaders: SlowReaders(budget: held[.answering]), cutReaders: metrics.cutReaders)
        let parts = HTTPServerParts(shared, log: log) { settings.now.timeouts }
        let handler = HTTPServerHandler(
            ServerConnection(timeouts: settings.now.timeouts, maxBody: ScrapeExchange.maxBody), exchange: exchange, parts: parts,
            handshakeTimeout: nil)
        try channel.pipeline.syncOperations.addHandlers([reader, handler])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return settings
    }

    private func send(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

    private func pass(_ seconds: Int64) { loop.advanceTime(by: .seconds(seconds)) }

    @Test("all that is not taken is held, also what a handler below keeps while the channel is writable")
    func keptBelow() throws {
        func push(_ size: Int) throws {
            for name in ["a", "b", "c"] {
                let text = Exposition(addingNewlineTo: ByteBuffer(repeating: UInt8(ascii: "\n"), count: size))
                let app = (name: try #require(AppName(name)), exposition: text)
                try store.apply(Push(apps: [app]), from: .push(listener: "l"), at: SystemClock.now())
            }
            _ = store.snapshot(at: SystemClock.now())
        }
        (reader.isFast, reader.staysWritable) = (false, true)
        try push(600_000)
        try connect { _ in }
        try send(Self.get)
        loop.run()
        #expect(held[.answering].used == 0)
        try push(1)
        #expect(held[.answering].used >= 1_800_000)
        while reader.take() {}
        loop.run()
        #expect(held[.answering].used == 0 && text.hasSuffix(String(repeating: "\n", count: 1_800_000)))
    }

    @Test("a silent connection is closed after header_timeout, without a word")
    func silent() throws {
        try connect { $0.headerTimeout = .seconds(10) }
        pass(9)
        #expect(channel.isActive)
        pass(1)
        #expect(!channel.isActive && text == "")
    }

    @Test("a head that does not end is answered with 408, and no byte that trickles in buys time")
    func slowHead() throws {
        try connect { $0.headerTimeout = .seconds(10) }
        pass(9)
        // The first byte of a request begins its own time.
        try send("GET / HTTP/1.1\r\n")
        for _ in 0..<9 {
            pass(1)
            try send("A: b\r\n")
        }
        #expect(channel.isActive && text == "")
        pass(1)
        #expect(statuses == ["408"])
        #expect(text.contains("\r\nConnection: close\r\n"))
        pass(60)
        #expect(!channel.isActive)
    }

    @Test("each request on a kept connection has header_timeout for itself")
    func eachHead() throws {
        try connect { $0.headerTimeout = .seconds(10) }
        for count in 1...5 {
            try send("GET /-/heal")
            pass(9)
            try send("thy HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(statuses == Array(repeating: "200", count: count))
            // Within idle_timeout.
            pass(200)
        }
        try send("GET /-/heal")
        pass(10)
        #expect(statuses.last == "408")
    }

    @Test("a kept connection without a request is closed after idle_timeout, each answer beginning anew")
    func idle() throws {
        try connect {
            $0.headerTimeout = .seconds(10)
            $0.idleTimeout = .seconds(30)
        }
        for _ in 0..<3 {
            try send(Self.get)
            pass(29)
            #expect(channel.isActive)
        }
        pass(1)
        #expect(!channel.isActive && statuses == ["200", "200", "200"])
    }

    @Test("an open connection takes over new timeouts with its next request")
    func newTimeouts() throws {
        let settings = try connect { $0.idleTimeout = .seconds(30) }
        try send(Self.get)
        settings.replace(with: settings.now.with { $0.idleTimeout = .seconds(5) })
        pass(29)
        #expect(channel.isActive)
        try send(Self.get)
        pass(4)
        #expect(channel.isActive)
        pass(1)
        #expect(!channel.isActive && statuses == ["200", "200"])
    }

    /// Apps whose text is one piece each, or more.
    private func pushPieces() throws -> String {
        let texts = (0..<8).map { String(repeating: "large\($0) 1\n", count: 40_000) }
        for (index, text) in texts.enumerated() {
            let app = (name: try AppName.named("app\(index)"), exposition: Exposition(endingInNewline: ByteBuffer(string: text)))
            try store.apply(Push(apps: [app]), from: .push(listener: "test"), at: SystemClock.now())
        }
        return texts.joined()
    }

    @Test("while others use the event loop, a large answer waits for its turn, and a small one does not")
    func turnsOfAnswers() throws {
        let metrics = try pushPieces()
        try connect { _ in }
        func useUp() {
            while turns[loop].take({ _ in EventLoopTurnsTests.work(for: .milliseconds(1)) }) != nil {}
        }
        useUp()
        try send("GET /-/healthy HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(statuses == ["200"])
        loop.run()
        useUp()
        try send(Self.get)
        #expect(statuses == ["200"])
        loop.advanceTime(by: .milliseconds(1))
        while reader.take() {}
        #expect(statuses == ["200", "200"] && text.hasSuffix(metrics))
    }

    @Test("a large answer that takes long to write is written in several turns; when all of it is taken, none is waited for")
    func longAnswer() throws {
        let metrics = try pushPieces()
        try connect { _ in }
        reader.flushTime = .microseconds(2500)
        try send(Self.get)
        #expect(reader.flushes == 1 && text.utf8.count < metrics.utf8.count)
        while reader.flushes < 100, !text.hasSuffix(metrics) {
            let before = reader.flushes
            // The pause between two rounds.
            loop.advanceTime(by: .microseconds(100))
            #expect(reader.flushes == before + 1)
        }
        #expect(reader.flushes > 3)
        reader.flushTime = .zero
        try send("GET /-/healthy HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(statuses == ["200", "200"])
    }

    @Test("a reader that takes nothing is cut after write_timeout, and the log says so")
    func stuckReader() throws {
        _ = try pushPieces()
        try connect {
            $0.writeTimeout = .seconds(60)
            $0.idleTimeout = .seconds(5)
        }
        reader.isFast = false
        try send(Self.get)
        reader.take()
        pass(59)
        #expect(channel.isActive)
        // It is looked at four times within the timeout. The first time may have come just before the last byte was taken.
        pass(16)
        #expect(!channel.isActive)
        #expect(lines.all.contains { $0.hasPrefix("info connection cut: its reader takes no bytes") }, "\(lines.all)")
    }

    @Test("a reader that is slow but takes something within each write_timeout gets all of it, however long that takes")
    func slowReader() throws {
        let body = try pushPieces()
        try connect { $0.writeTimeout = .seconds(60) }
        reader.isFast = false
        try send(Self.get)
        var takes = 0
        while reader.take() {
            takes += 1
            pass(50)
            #expect(channel.isActive)
        }
        #expect(takes >= 8)
        #expect(text.hasSuffix("\r\n\r\n" + body))
        // And it is an ordinary connection afterwards.
        reader.isFast = true
        try send("GET /-/healthy HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(text.hasSuffix("exporter-proxy is healthy\n"))
        #expect(lines.all == [])
    }

    @Test("a reader that takes a little now and then is cut after response_timeout")
    func responseTimeout() throws {
        _ = try pushPieces()
        try connect {
            $0.writeTimeout = .seconds(60)
            $0.responseTimeout = .seconds(100)
        }
        reader.isFast = false
        try send(Self.get)
        for _ in 0..<2 {
            reader.take()
            pass(49)
        }
        #expect(channel.isActive)
        pass(2)
        #expect(!channel.isActive)
        #expect(lines.all.contains { $0.contains("response_timeout") }, "\(lines.all)")
    }

    @Test("the reader is cut whose answers hold more than may be held, and nothing is counted afterwards")
    func heldSize() throws {
        _ = try pushPieces()
        held[.answering].limit = ByteCount(1000)
        try connect { _ in }
        reader.isFast = false
        // What one app's answer holds is not known to be stored.
        try send("GET /metrics?app=app1&app=app2 HTTP/1.1\r\nHost: h\r\n\r\n")
        loop.advanceTime(by: .milliseconds(1))
        #expect(!channel.isActive)
        #expect(lines.all.contains { $0.contains("max_held_size") }, "\(lines.all)")
        #expect(held[.answering].used == 0)
    }

    @Test("bytes that are read and not consumed are counted until the connection ends")
    func countedReading() throws {
        try connect { _ in }
        try send("GET / HTTP/1.1\r\n")
        #expect(held[.reading].used > 0)
        try send("Host: h\r\n\r\n")
        #expect(statuses == ["200"])
        #expect(held[.reading].used == 0)
        try send("GET")
        #expect(held[.reading].used > 0)
        try channel.close().wait()
        #expect(held[.reading].used == 0)
    }

    @Test("a request for which there is no memory is refused")
    func noMemory() throws {
        held[.reading].limit = ByteCount(10)
        try connect { _ in }
        try send("GET / HTTP/1.1\r\n")
        #expect(statuses == ["503"])
        #expect(held[.reading].used == 0)
    }
}
