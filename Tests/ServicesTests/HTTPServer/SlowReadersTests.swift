import HTTP
import NIOCore
import NIOEmbedded
import Proxy
import Synchronization
import Testing

@testable import Services

@Suite("SlowReaders")
struct SlowReadersTests {
    private let budget = ByteBudget(limit: ByteCount(1_000_000))
    private let loop = EmbeddedEventLoop()
    private let cuts = Cuts()

    /// Who was cut, in order.
    private final class Cuts: Sendable {
        private let names = Mutex<[String]>([])
        var all: [String] { names.withLock { $0 } }
        func add(_ name: String) { names.withLock { $0.append(name) } }
    }

    /// A response of four pieces of 100 KB that its reader has not taken. The channel has the first few.
    private func response(leases: [PieceLease?] = [], handed: Int = 1) throws -> OutgoingResponse {
        var connection = ServerConnection(
            timeouts: .init(head: .seconds(1), idle: .seconds(1), write: .seconds(1), response: .seconds(1)), maxBody: 0)
        connection.received(ByteBuffer(string: "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), at: .now())
        while connection.next(isWritable: true) != nil {}
        var response = Response(
            status: 200, body: Array(repeating: ByteBuffer(repeating: 0x61, count: 131_072), count: 4), contentLength: 524_288)
        response.leases = leases
        connection.respond(with: response, date: "", allocator: ByteBufferAllocator())
        var left = handed
        connection.isInLargeTurn = true
        while let action = connection.next(isWritable: left > 0) {
            if case .write = action { left -= 1 }
        }
        return try #require(connection.slowResponse)
    }

    private func add(_ name: String, _ response: OutgoingResponse, to readers: SlowReaders, isEncrypted: Bool = false) -> SlowReaders.Answer
    {
        readers.add(response, isEncrypted: isEncrypted, on: loop) { [cuts] in cuts.add(name) }
    }

    @Test("what a response alone holds is counted until it is taken")
    func ownBytes() throws {
        let readers = SlowReaders(budget: budget)
        let answer = add("a", try response(), to: readers)
        #expect(budget.used == 524_288)
        readers.remove(answer)
        #expect(budget.used == 0)
        let encrypted = add("a", try response(handed: 3), to: readers, isEncrypted: true)
        // What the channel was handed is there twice: the head and two pieces.
        #expect((786_432..<787_000).contains(budget.used), "\(budget.used)")
        readers.remove(encrypted)
        #expect(budget.used == 0)
    }

    @Test("encrypted bytes are counted as the channel gets them, also of a response that waited for its turn first")
    func encryptedBytes() throws {
        let readers = SlowReaders(budget: budget)
        let answer = add("a", try response(handed: 0), to: readers, isEncrypted: true)
        #expect(budget.used == 524_288)
        readers.proceed(answer, to: try response(handed: 3))
        #expect((786_432..<787_000).contains(budget.used), "\(budget.used)")
        readers.remove(answer)
        #expect(budget.used == 0)
    }

    @Test("a new reader is not cut for those that take nothing; after a second it counts as they do")
    func newReader() throws {
        let seconds = Atomic(0)
        let readers = SlowReaders(budget: budget) { .uptimeNanoseconds(0) + .seconds(Int64(seconds.load(ordering: .relaxed))) }
        let idle = add("idle", try response(), to: readers)
        seconds.store(10, ordering: .relaxed)
        let new = add("new", try response(), to: readers)
        loop.run()
        #expect(cuts.all == ["idle"])
        readers.remove(idle)
        seconds.store(20, ordering: .relaxed)
        let last = add("last", try response(), to: readers)
        loop.run()
        #expect(cuts.all == ["idle", "new"])
        for answer in [new, last] { readers.remove(answer) }
        #expect(budget.used == 0)
    }

    @Test("what is stored anyway costs nothing; once it is replaced it counts once, however many readers hold it")
    func sharedBytes() throws {
        let readers = SlowReaders(budget: budget)
        let lease = PieceLease(isStored: true)
        let leases = Array(repeating: Optional(lease), count: 4)
        let answers = try (0..<10).map { add("\($0)", try response(leases: leases), to: readers) }
        #expect(budget.used == 0)
        budget.add(lease.retire())
        #expect(budget.used == 131_072)
        for answer in answers.dropLast() { readers.remove(answer) }
        #expect(budget.used == 131_072)
        readers.remove(answers[9])
        #expect(budget.used == 0)
    }

    @Test("beyond the limit the slowest are cut, no more of them than is needed")
    func cutting() throws {
        let readers = SlowReaders(budget: budget)
        let slow = add("slow", try response(), to: readers)
        let fast = add("fast", try response(), to: readers)
        loop.run()
        #expect(cuts.all.count == 1)
        #expect(budget.used > budget.limit.bytes)
        readers.remove(cuts.all == ["slow"] ? slow : fast)
        #expect(budget.used <= budget.limit.bytes)
        loop.run()
        #expect(cuts.all.count == 1)
        // When the cut connection has ended, others can be cut.
        let first = cuts.all
        let later = add("later", try response(), to: readers)
        loop.run()
        #expect(cuts.all.count == 2)
        for answer in [first == ["slow"] ? fast : slow, later] { readers.remove(answer) }
        #expect(budget.used == 0)
    }

    @Test("a reader that holds nothing but what is stored is not cut")
    func spared() throws {
        let budget = ByteBudget(limit: ByteCount(300_000))
        let readers = SlowReaders(budget: budget)
        let stored = add("stored", try response(leases: Array(repeating: PieceLease(isStored: true), count: 4)), to: readers)
        let own = add("own", try response(), to: readers)
        loop.run()
        #expect(cuts.all == ["own"])
        for answer in [stored, own] { readers.remove(answer) }
        #expect(budget.used == 0)
    }
}
