import CMalloc
import NIOCore
import NIOEmbedded
import Synchronization
import TestSupport
import Testing

@testable import TLS

/// Counts bytes.
private final class Budget: HandshakeBudget {
    private let counted = Atomic<Int>(0)

    var used: Int { counted.load(ordering: .relaxed) }
    func add(_ bytes: Int) { counted.add(bytes, ordering: .relaxed) }
    func release(_ bytes: Int) { counted.subtract(bytes, ordering: .relaxed) }
}

@Suite(.serialized)
struct HandshakeLimitTests {
    /// Servers of one event loop that share a budget.
    private final class Servers {
        let loop = EmbeddedEventLoop()
        let budget: Budget
        let context: TLSContext
        private(set) var ends: [End] = []
        private(set) var outcomes: [[TLSHandshakeFailure?]] = []

        init(room: Int = .max, _ change: (inout TLSServerSettings) -> Void = { _ in }) throws {
            let budget = Budget()
            self.budget = budget
            context = try Contexts.server {
                change(&$0)
                $0.handshakeLimit = HandshakeLimit(budget, limit: room)
            }
        }

        deinit { for end in ends { end.finish() } }

        /// Accepts a connection that sends these bytes first.
        @discardableResult
        func accept(_ bytes: [UInt8]) throws -> End {
            let number = ends.count
            outcomes.append([])
            let handler = TLSHandler(
                server: context, onHandshake: { [unowned self] failure, _ in outcomes[number].append(failure) })
            let end = try End(handler, loop: loop)
            try end.activate()
            ends.append(end)
            if !bytes.isEmpty { end.receive(ByteBuffer(bytes: bytes)) }
            return end
        }
    }

    private static func hello(_ version: Int32 = 0x0304, certificate: ThrowawayCertificate? = nil) throws -> [UInt8] {
        try OpenSSLClient(version: version, certificate: certificate).step()
    }

    private static let cost = HandshakeLimit.connectionCost

    @Test("a connection that sends nothing holds nothing, a begun ClientHello holds its bytes, a whole one a connection")
    func counted() throws {
        let servers = try Servers()
        try servers.accept([])
        #expect(servers.budget.used == 0)
        let hello = try Self.hello()
        let begun = try servers.accept(Array(hello.prefix(43)))
        #expect((43...256).contains(servers.budget.used))
        begun.receive(ByteBuffer(bytes: hello.dropFirst(43)))
        #expect(servers.budget.used == Self.cost)
        begun.loseTransport()
        #expect(servers.budget.used == 0)
    }

    @Test("everything is given back, however a handshake ends")
    func givenBack() throws {
        let hello = try Self.hello()
        let ends: [(String, TLSHandshakeFailure, (Servers, End) -> Void)] = [
            ("the peer goes", .closed, { _, end in end.receiveFIN() }),
            ("the transport breaks", .closed, { _, end in end.loseTransport() }),
            ("nonsense", .protocolError, { _, end in end.receive(ByteBuffer(bytes: [23, 3, 3, 0, 1, 0])) }),
            ("a message too long", .messageTooLarge, { _, end in end.receive(ByteBuffer(bytes: [22, 3, 3, 0, 4, 1, 1, 0, 0])) }),
        ]
        for (name, failure, finish) in ends {
            let servers = try Servers()
            let end = try servers.accept(hello)
            #expect(servers.budget.used == Self.cost, "\(name)")
            finish(servers, end)
            #expect(servers.budget.used == 0, "\(name)")
            #expect(servers.outcomes == [[failure]], "\(name)")
        }
        let refused = try Servers()
        try refused.accept(Array("GET / HTTP/1.1\r\n\r\n".utf8))
        try refused.accept([22, 3, 1, 0, 38, 1, 1, 0xff, 0xb8] + [UInt8](repeating: 0, count: 34))
        #expect(refused.budget.used == 0)
        #expect(refused.outcomes == [[.plainHTTP], [.messageTooLarge]])
    }

    @Test("a completed handshake holds nothing, on either side", arguments: [TLSProtocolVersion.tls12, .tls13])
    func completed(_ version: TLSProtocolVersion) throws {
        let (client, server) = (Budget(), Budget())
        let pair = try BackToBack(
            client: Contexts.client { $0.handshakeLimit = HandshakeLimit(client) },
            server: Contexts.server {
                $0.maxVersion = version
                $0.handshakeLimit = HandshakeLimit(server)
            })
        try pair.server.activate()
        try pair.client.activate()
        #expect(client.used == Self.cost + HandshakeLimit.certificateCost.server)
        try pair.interact(pieceSize: 100)
        #expect(pair.server.recorder.story == [.handshake(nil)])
        #expect(client.used == 0 && server.used == 0)
    }

    @Test("beyond the limit the oldest handshake ends, and is counted so")
    func oldestEnds() throws {
        let hello = try Self.hello()
        let servers = try Servers(room: 3 * Self.cost)
        for _ in 0..<3 { try servers.accept(hello) }
        #expect(servers.outcomes == [[], [], []])
        try servers.accept(hello)
        #expect(servers.outcomes == [[.tooMany], [], [], []])
        #expect(servers.ends[0].recorder.errors == [.handshakeFailed("too many handshakes are under way")])
        #expect(!servers.ends[0].channel.isActive)
        // The bytes of a begun ClientHello count too.
        try servers.accept(Array(hello.prefix(43)))
        #expect(servers.outcomes == [[.tooMany], [.tooMany], [], [], []])
        #expect(servers.budget.used <= 3 * Self.cost)
    }

    @Test("a client's handshakes take no room from servers")
    func clients() throws {
        let budget = Budget()
        let limit = HandshakeLimit(budget, limit: Self.cost)
        let pair = try BackToBack(
            client: Contexts.client { $0.handshakeLimit = limit }, server: Contexts.server { $0.handshakeLimit = limit })
        try pair.client.activate()
        #expect(budget.used > Self.cost)
        try pair.server.activate()
        try pair.interact()
        #expect(pair.server.recorder.story == [.handshake(nil)])
        #expect(budget.used == 0)
    }

    @Test("one that finds no room, and nothing older to end, is refused")
    func refused() throws {
        let servers = try Servers(room: Self.cost - 1)
        try servers.accept(Self.hello())
        #expect(servers.outcomes == [[.tooMany]])
        #expect(servers.budget.used == 0)
        // One byte more is enough.
        let enough = try Servers(room: Self.cost)
        try enough.accept(Self.hello())
        #expect(enough.outcomes == [[]])
    }

    @Test("a client that goes on gets through while others hold all the room")
    func getsThrough() throws {
        let hello = try Self.hello()
        let servers = try Servers(room: 10 * Self.cost)
        for _ in 0..<50 { try servers.accept(hello) }
        let client = try OpenSSLClient()
        let end = try servers.accept(client.step())
        for _ in 0..<5 { try servers.accept(hello) }
        var bytes: [UInt8] = []
        while let buffer = try end.takeOutbound() { bytes += buffer.readableBytesView }
        end.receive(ByteBuffer(bytes: client.step(bytes)))
        #expect(client.isConnected)
        #expect(servers.outcomes[50] == [nil])
    }

    /// Bytes that the program has allocated.
    private func allocated() -> Int {
        let info = mallinfo2()
        return info.uordblks + info.hblkhd
    }

    @Test(
        "a handshake costs what is counted for it, and an announced message nothing", .enabled(if: !isSanitized),
        arguments: [Int32(0x0303), 0x0304], [false, true])
    func realCost(version: Int32, asksForCertificate: Bool) throws {
        let hello = try Self.hello(version)
        let count = 200
        func cost(_ bytes: [UInt8]) throws -> (each: Int, counted: Int) {
            let servers = try Servers {
                guard asksForCertificate else { return }
                $0.clientAuthentication = .requireAndVerify
                $0.clientAuthorities = Array(Contexts.ca.certificatePEM.utf8)
            }
            for _ in 0..<count { try servers.accept([]) }
            let before = allocated()
            for end in servers.ends { end.receive(ByteBuffer(bytes: bytes)) }
            let after = allocated()
            // What was sent is not part of the handshake: the network takes it.
            var sent = 0
            for end in servers.ends { while let buffer = try end.takeOutbound() { sent += buffer.storageCapacity } }
            #expect(servers.outcomes.allSatisfy { $0.isEmpty })
            return ((after - before - sent) / count, servers.budget.used / count)
        }
        // What is made once.
        _ = try cost(hello)
        // Other tests of this process allocate and free at the same time. A measurement that they did not disturb decides.
        func measured(_ bytes: [UInt8], _ isRight: ((each: Int, counted: Int)) -> Bool) throws {
            var last = try cost(bytes)
            for _ in 0..<10 where !isRight(last) { last = try cost(bytes) }
            #expect(isRight(last), "\(last)")
        }
        try measured(hello) { $0.each <= $0.counted && $0.each > $0.counted / 4 }
        try measured([22, 3, 1, 4, 0, 1, 0, 3, 0xfc] + [UInt8](repeating: 7, count: 34)) { (0..<2048).contains($0.each) }
    }
}
