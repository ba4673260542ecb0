import Dispatch
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Services

@Suite("HostResolver")
struct HostResolverTests {
    /// Lookups that end when the test says so.
    private final class Lookups: Sendable {
        private let names = Mutex<[String]>([])
        private let gate = DispatchSemaphore(value: 0)

        /// Begun so far, in order.
        var begun: [String] { names.withLock { $0 } }

        func look(_ host: String) -> Result<HostResolver.Addresses, HostResolver.LookupError> {
            names.withLock { $0.append(host) }
            gate.wait()
            return .failure(.init(reason: "unknown \(host)"))
        }

        func end(_ count: Int) {
            for _ in 0..<count { gate.signal() }
        }
    }

    private let eventLoop = MultiThreadedEventLoopGroup.singleton.next()

    private func reason(_ future: EventLoopFuture<HostResolver.Addresses>) async -> String? {
        do {
            _ = try await future.get()
            return nil
        } catch {
            return (error as? HostResolver.LookupError)?.reason
        }
    }

    private func later(_ time: TimeAmount = .minutes(5)) -> NIODeadline { .now() + time }

    @Test("an address, and a name of this host")
    func localhost() async throws {
        let resolver = HostResolver()
        let addresses = try await resolver.resolve("localhost", on: eventLoop, until: later()).get()
        #expect((addresses.v4 + addresses.v6).contains { $0.ipAddress == "127.0.0.1" || $0.ipAddress == "::1" })
        let reason = await reason(resolver.resolve("name.invalid", on: eventLoop, until: later()))
        #expect(reason?.isEmpty == false)
    }

    @Test("polls that wait for one name share its lookup; the next one looks again")
    func sharing() async throws {
        let lookups = Lookups()
        let resolver = HostResolver(lookup: lookups.look)
        let futures = (0..<5).map { _ in resolver.resolve("a", on: eventLoop, until: later()) }
        try await eventually { lookups.begun == ["a"] }
        lookups.end(1)
        for future in futures { #expect(await reason(future) == "unknown a") }
        #expect(lookups.begun == ["a"])
        lookups.end(1)
        #expect(await reason(resolver.resolve("a", on: eventLoop, until: later())) == "unknown a")
        #expect(lookups.begun == ["a", "a"])
    }

    @Test("at the limit another name waits for a thread, and is looked up then")
    func limit() async throws {
        let lookups = Lookups()
        let resolver = HostResolver(maxLookups: 2, lookup: lookups.look)
        let futures = ["a", "b", "c"].map { resolver.resolve($0, on: eventLoop, until: later()) }
        try await eventually { lookups.begun.count == 2 }
        #expect(Set(lookups.begun) == ["a", "b"])
        lookups.end(1)
        try await eventually { lookups.begun.count == 3 }
        lookups.end(2)
        for (future, name) in zip(futures, ["a", "b", "c"]) { #expect(await reason(future) == "unknown \(name)") }
    }

    @Test("a thread is made when a name finds none that is idle")
    func threads() async throws {
        let lookups = Lookups()
        let resolver = HostResolver(lookup: lookups.look)
        #expect(resolver.threads == 0)
        for _ in 0..<3 {
            lookups.end(1)
            #expect(await reason(resolver.resolve("a", on: eventLoop, until: later())) == "unknown a")
        }
        #expect(resolver.threads == 1)
        let futures = ["b", "c"].map { resolver.resolve($0, on: eventLoop, until: later()) }
        lookups.end(2)
        for (future, name) in zip(futures, ["b", "c"]) { #expect(await reason(future) == "unknown \(name)") }
        #expect(resolver.threads == 2)
    }

    @Test("names whose last lookup was slow leave a quarter of the threads to other names")
    func slowNames() async throws {
        let lookups = Lookups()
        let slowAfter = TimeAmount.milliseconds(1)
        let resolver = HostResolver(maxLookups: 4, slowAfter: slowAfter, lookup: lookups.look)
        func resolve(_ names: [String]) -> [EventLoopFuture<HostResolver.Addresses>] {
            names.map { resolver.resolve($0, on: eventLoop, until: later()) }
        }
        let slow = ["a", "b", "c", "d"]
        // A new name may be fast, so these have all the threads once.
        let first = resolve(slow)
        try await eventually { lookups.begun.count == 4 }
        let begun = NIODeadline.now()
        try await eventually { NIODeadline.now() - begun > slowAfter }
        lookups.end(4)
        for (future, name) in zip(first, slow) { #expect(await reason(future) == "unknown \(name)") }
        let second = resolve(slow)
        let other = resolve(["other"])
        try await eventually { lookups.begun.count == 8 }
        #expect(Set(lookups.begun[4...]) == ["a", "b", "c", "other"])
        // The fourth slow name follows when one of the three has ended.
        lookups.end(5)
        for (future, name) in zip(second + other, slow + ["other"]) { #expect(await reason(future) == "unknown \(name)") }
        #expect(lookups.begun.last == "d")
        #expect(resolver.threads == 4)
    }

    @Test("a lookup that has not begun by its deadline is not made, unless another poll still waits for it")
    func deadline() async throws {
        let lookups = Lookups()
        let resolver = HostResolver(maxLookups: 1, lookup: lookups.look)
        let first = resolver.resolve("a", on: eventLoop, until: later())
        try await eventually { lookups.begun == ["a"] }
        let late = resolver.resolve("b", on: eventLoop, until: .now())
        let shared = [resolver.resolve("c", on: eventLoop, until: .now()), resolver.resolve("c", on: eventLoop, until: later())]
        lookups.end(2)
        #expect(await reason(first) == "unknown a")
        #expect(await reason(late) == "too many names are being looked up")
        for future in shared { #expect(await reason(future) == "unknown c") }
        #expect(lookups.begun == ["a", "c"])
    }

    @Test("a shutdown ends every wait at once, whatever the system does")
    func shutdown() async throws {
        let lookups = Lookups()
        let resolver = HostResolver(maxLookups: 1, lookup: lookups.look)
        let futures = ["a", "b"].map { resolver.resolve($0, on: eventLoop, until: later()) }
        try await eventually { lookups.begun == ["a"] }
        resolver.end()
        for future in futures { #expect(await reason(future) == "the program stops") }
        #expect(await reason(resolver.resolve("c", on: eventLoop, until: later())) == "the program stops")
        lookups.end(2)
    }
}
