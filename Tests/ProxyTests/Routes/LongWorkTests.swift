import Foundation
import HTTP
import NIOCore
import NIOEmbedded
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// Keeps what it is given until a test runs it.
private final class HeldOffload: Offload {
    private let held = Mutex<[@Sendable () -> Void]>([])

    var count: Int { held.withLock { $0.count } }

    func run<Result: Sendable>(on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result) -> EventLoopFuture<Result> {
        let promise = eventLoop.makePromise(of: Result.self)
        held.withLock { $0.append { promise.succeed(work()) } }
        return promise.futureResult
    }

    func runAll() {
        while let work = held.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { work() }
    }
}

/// Runs what it is given on a new thread, and tells when that has begun.
private final class ThreadOffload: Offload {
    let begun = Atomic(0)
    let ended = Atomic(0)

    func run<Result: Sendable>(on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result) -> EventLoopFuture<Result> {
        let promise = eventLoop.makePromise(of: Result.self)
        Thread.detachNewThread { [self] in
            begun.add(1, ordering: .sequentiallyConsistent)
            promise.succeed(work())
            ended.add(1, ordering: .sequentiallyConsistent)
        }
        return promise.futureResult
    }
}

private func peer(_ address: String) throws -> Peer { Peer(address: try SocketAddress(ipAddress: address, port: 1)) }

@Suite("Snapshots and lists off the event loop")
struct LongWorkTests {
    private let side = ScrapeSide()

    private func router(_ offload: any Offload, pages: any Offload) -> Router {
        let now = side.now.moment
        return Router(
            store: side.store, lifecycle: side.lifecycle, metrics: side.metrics, offload: offload, pageOffload: pages, clock: { now })
    }

    /// So many apps that lists are written elsewhere, by work that waits in `pages`.
    private func routerOfManyApps() throws -> (Router, pages: HeldOffload, EmbeddedEventLoop) {
        try side.push((0..<1000).map { ("app\($0)", "x 1\n") })
        let pages = HeldOffload()
        return (router(HeldOffload(), pages: pages), pages, EmbeddedEventLoop())
    }

    private func request(_ target: String, method: Request.Method = .get, from address: String = "10.0.0.1")
        throws -> Request
    {
        var head = RequestHead(method: method, target: target)
        head.host = "h"
        return try Request(head, isTLS: false, peer: peer(address))
    }

    private func later(_ answer: Answer) throws -> EventLoopFuture<Response> {
        guard case .later(let future) = answer else {
            Issue.record("answered on the event loop")
            throw CancellationError()
        }
        return future
    }

    @Test(
        "while another thread makes the snapshot, no route waits for it on the event loop",
        arguments: ["/metrics", "/apps", "/apps?format=json", "/apps?format=html", "/sd", "/metrics/self"])
    func beingMade(target: String) async throws {
        side.metrics.isExposed = true
        // Enough that making it takes far longer than asking for it.
        let text = String(repeating: "x 1\n", count: 100)
        try side.push((0..<40_000).map { ("app\($0)", text) })
        let threads = ThreadOffload()
        let router = router(threads, pages: threads)
        let loop = NIOAsyncTestingEventLoop()
        let first = try later(router.respond(to: request("/metrics"), on: loop))
        // Not by asking now and then: the thread needs only a moment.
        while threads.begun.load(ordering: .sequentiallyConsistent) == 0 { sched_yield() }
        let second = try later(router.respond(to: request(target), on: loop))
        #expect(threads.ended.load(ordering: .sequentiallyConsistent) == 0, "the request has waited for the snapshot")
        let (one, two) = (try await first.get(), try await second.get())
        #expect(one.status == 200 && two.status == 200)
    }

    @Test("those who wait share one snapshot; what was pushed before a request is in its answer")
    func shared() throws {
        let text = String(repeating: "x 1\n", count: 75_000)
        try side.push((0..<20).map { ("app\($0)", text) })
        let offload = HeldOffload()
        let router = router(offload, pages: offload)
        let loop = EmbeddedEventLoop()
        let waiting = try (0..<10).map { _ in try later(router.respond(to: request("/metrics"), on: loop)) }
        #expect(offload.count == 1)
        try side.push([("new", "new 1\n")])
        let late = try later(router.respond(to: request("/metrics"), on: loop))
        #expect(offload.count == 1)
        offload.runAll()
        for future in waiting + [late] {
            let received = Received(try future.wait())
            #expect(received.contentLength == 20 * 300_000 + 6 && received.text.contains("new 1\n"))
        }
    }

    @Test(
        "a list is written once for all who ask for it at the same time, HEAD among them", arguments: ["/apps?format=json", "/apps", "/sd"])
    func lists(target: String) throws {
        try side.push((0..<1000).map { ("app\($0)", "x 1\n") })
        let (scrapes, pages) = (HeldOffload(), HeldOffload())
        let router = router(scrapes, pages: pages)
        let loop = EmbeddedEventLoop()
        let waiting = try (0..<40).map { index in
            try later(router.respond(to: request(target, method: index % 2 == 0 ? .head : .get), on: loop))
        }
        #expect(pages.count == 1 && scrapes.count == 0)
        // A scrape is answered meanwhile.
        guard case .now(let scrape) = try router.respond(to: request("/metrics"), on: loop) else {
            Issue.record("a scrape waits")
            return
        }
        #expect(scrape.status == 200)
        pages.runAll()
        let responses = try waiting.map { try $0.wait() }
        for response in responses {
            #expect(response.status == 200 && response.contentLength == responses[0].contentLength)
            // The very same list, and each piece with one lease.
            #expect(response.leases.count == response.body.count)
            #expect(response.leases[1] === responses[0].leases[1])
        }
        // For a moment it stays for others; after it, or after a change, it is written anew.
        guard case .now = try router.respond(to: request(target), on: loop) else {
            Issue.record("written again at once")
            return
        }
        loop.advanceTime(by: .seconds(2))
        _ = try later(router.respond(to: request(target), on: loop))
        #expect(pages.count == 1)
        pages.runAll()
        try side.push([("one more", "")])
        _ = try later(router.respond(to: request(target), on: loop))
        #expect(pages.count == 1)
        pages.runAll()
        loop.run()
    }

    /// Whether something still keeps a list that was written.
    private final class KeptList {
        private weak var lease: PieceLease?
        init(_ lease: PieceLease) { self.lease = lease }
        var isKept: Bool { lease != nil }
    }

    @Test("a list of an earlier state is not kept: no further request asks for it")
    func listOfEarlierState() throws {
        let (router, pages, loop) = try routerOfManyApps()
        func write(_ target: String) throws -> KeptList {
            let future = try later(router.respond(to: request(target), on: loop))
            pages.runAll()
            return KeptList(try #require(try future.wait().leases.compactMap { $0 }.dropFirst().first))
        }
        let earlier = try write("/apps?format=json")
        #expect(earlier.isKept)
        try side.push([("one more", "")])
        let latest = try write("/apps")
        #expect(latest.isKept && !earlier.isKept)
    }

    @Test("of lists that are together too large, the newest is kept")
    func largeLists() throws {
        try side.push([("a", "")])
        let (offload, loop) = (HeldOffload(), EmbeddedEventLoop())
        let lists = AppLists(
            snapshots: SnapshotSource(store: side.store, offload: offload), queue: PageQueue(offload: offload), maxKeptBytes: 1)
        func lease(_ list: AppLists.List) throws -> PieceLease {
            let answer = try lists.answer(request("/apps"), with: list, at: side.now.moment, on: loop) {
                Response(status: 200, headers: [], body: $0.body)
            }
            guard case .now(let response) = answer else { throw CancellationError() }
            return try #require(response.leases.compactMap { $0 }.first)
        }
        let json = try lease(.json)
        #expect(try lease(.json) === json)
        let text = try lease(.text(titleColumns: 10))
        #expect(try lease(.text(titleColumns: 10)) === text)
        #expect(try lease(.json) !== json)
    }

    @Test("peers take turns; beyond the limits a request is refused at once")
    func queue() throws {
        let offload = HeldOffload()
        let queue = PageQueue(offload: offload)
        let loop = EmbeddedEventLoop()
        let order = Mutex<[String]>([])
        func add(_ name: String, from address: String) throws -> Bool {
            queue.add(for: try peer(address), on: loop) { order.withLock { $0.append(name) } }
        }
        for index in 0..<3 { #expect(try add("a\(index)", from: "10.0.0.1")) }
        #expect(try add("b0", from: "10.0.0.2"))
        #expect(try add("c0", from: "10.0.0.3"))
        #expect(offload.count == 1)
        offload.runAll()
        #expect(order.withLock { $0 } == ["a0", "b0", "c0", "a1", "a2"])

        for _ in 0..<PageQueue.maxWaitingOfOneAddress { #expect(try add("d", from: "10.0.0.4")) }
        #expect(try !add("d", from: "10.0.0.4"))
        for index in 0..<(PageQueue.maxWaiting - PageQueue.maxWaitingOfOneAddress) {
            #expect(try add("e", from: "10.0.1.\(index % 250 + 1)"))
        }
        #expect(try !add("f", from: "10.0.0.5"))
        offload.runAll()
        #expect(order.withLock { $0.count } == 5 + PageQueue.maxWaiting)
        #expect(try add("g", from: "10.0.0.4"))
        offload.runAll()
    }

    @Test("a list that another peer waits for, behind its other pages, is written at the first turn of those who share it")
    func turnsOfSharedLists() throws {
        let (router, pages, loop) = try routerOfManyApps()
        let order = Mutex<[String]>([])
        func send(_ target: String, as name: String, from address: String) throws {
            try later(router.respond(to: request(target, from: address), on: loop)).whenSuccess { response in
                order.withLock { $0.append("\(name) \(response.status)") }
            }
        }
        for index in 0..<3 { try send("/apps?format=html&q=\(index)", as: "page", from: "10.0.0.1") }
        try send("/sd", as: "list", from: "10.0.0.1")
        try send("/sd", as: "same list", from: "10.0.0.2")
        pages.runAll()
        loop.run()
        #expect(order.withLock { $0 } == ["page 200", "list 200", "same list 200", "page 200", "page 200"])
    }

    @Test("a peer without room for a list gets the one that another peer waits for")
    func fullQueueAndSharedList() throws {
        let (router, pages, loop) = try routerOfManyApps()
        let other = try later(router.respond(to: request("/sd", from: "10.0.0.2"), on: loop))
        for index in 0..<PageQueue.maxWaitingOfOneAddress {
            _ = try later(router.respond(to: request("/apps?format=html&q=\(index)"), on: loop))
        }
        let shared = try later(router.respond(to: request("/sd"), on: loop))
        pages.runAll()
        #expect(try other.wait().status == 200 && shared.wait().status == 200)
    }

    @Test("a page for which there is no room is answered 503, a list too")
    func busy() throws {
        let (router, pages, loop) = try routerOfManyApps()
        var waiting: [EventLoopFuture<Response>] = []
        for index in 0..<PageQueue.maxWaitingOfOneAddress {
            waiting.append(try later(router.respond(to: request("/apps?format=html&q=\(index)"), on: loop)))
        }
        for target in ["/apps?format=html", "/apps?format=json"] {
            let refused = try later(router.respond(to: request(target), on: loop)).wait()
            #expect(refused.status == 503 && refused.headers.contains { $0.name == "Retry-After" })
        }
        // Another peer has room.
        waiting.append(try later(router.respond(to: request("/apps?format=html", from: "10.0.0.2"), on: loop)))
        pages.runAll()
        for future in waiting { #expect(try future.wait().status == 200) }
    }
}
