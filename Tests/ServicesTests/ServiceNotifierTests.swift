import Glibc
import Logging
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("Service notifier")
struct ServiceNotifierTests {
    /// Stands in for the service manager.
    private final class Manager: Sendable {
        let descriptor: CInt

        init(_ address: UnixAddress) throws {
            descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
            try #require(address.withSocketAddress { bind(descriptor, $0, $1) } == 0)
        }

        deinit { close(descriptor) }

        /// The next datagram.
        func next() async throws -> String {
            try await wait(for: "a message") {
                var buffer = [UInt8](repeating: 0, count: 4096)
                let count = recv(descriptor, &buffer, buffer.count, 0)
                return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
            }
        }
    }

    private func notifier(_ address: UnixAddress?, watchdog: WatchdogTime? = nil) throws -> ServiceNotifier {
        try ServiceNotifier(address, watchdog: watchdog, logger: Logger(label: "test"))
    }

    @Test("addresses are paths and abstract names, and nothing else")
    func addresses() {
        let longest = String(repeating: "x", count: 107)
        for text in ["", "/", "@", "relative", "vsock:2:1", "/a\0b", "/" + longest, "@x" + longest] {
            #expect(UnixAddress(notifySocket: text) == nil, "\(text)")
        }
        #expect(UnixAddress(notifySocket: "/" + longest.dropFirst()) != nil)
        // The zero byte in front of an abstract name stands where a path ends with one.
        #expect(UnixAddress(notifySocket: "@" + longest) != nil)
    }

    @Test("the watchdog's time is for this process, or for any")
    func watchdogTime() {
        #expect(WatchdogTime(microseconds: "3000000", process: nil)?.time == .seconds(3))
        #expect(WatchdogTime(microseconds: "3000000", process: "\(getpid())")?.time == .seconds(3))
        #expect(WatchdogTime(microseconds: "3000000", process: "1") == nil)
        for text in [nil, "", "0", "-1", "x", "9223372036854775807"] { #expect(WatchdogTime(microseconds: text, process: nil) == nil) }
    }

    @Test("messages arrive one datagram each, at a path and at an abstract name", arguments: [false, true])
    func messages(isAbstract: Bool) async throws {
        try await withTemporaryFolder { folder in
            let address = try #require(UnixAddress(notifySocket: isAbstract ? "@\(folder.path)" : folder.path("notify")))
            let manager = try Manager(address)
            let notifier = try notifier(address)
            await notifier.ready("2 apps\nWATCHDOG=trigger")
            let before = SystemClock.monotonic()
            notifier.reloading()
            let after = SystemClock.monotonic()
            notifier.stopping()
            let ready = try await manager.next()
            #expect(ready.hasPrefix("READY=1\nSTATUS=2 apps") && ready.split(separator: "\n").count == 2, "\(ready)")
            let reloading = try await manager.next()
            let microseconds = try #require(reloading.wholeMatch(of: #/RELOADING=1\nMONOTONIC_USEC=([0-9]+)\nSTATUS=[^\n]+/#)?.1)
            #expect((before / 1000...after / 1000).contains(try #require(Int64(microseconds))), "\(reloading)")
            #expect(try await manager.next() == "STOPPING=1\nSTATUS=stopping")
            await notifier.stop()
        }
    }

    @Test("after STOPPING=1 only signs of life follow: a reload that ends during a stop does not make the program ready again")
    func afterStopping() async throws {
        try await withTemporaryFolder { folder in
            let address = try #require(UnixAddress(notifySocket: folder.path("notify")))
            let manager = try Manager(address)
            let notifier = try notifier(address, watchdog: WatchdogTime(microseconds: "2000", process: nil))
            notifier.stopping()
            notifier.reloading()
            await notifier.ready("too late")
            let task = Task {
                await notifier.reportUntilCancelled(on: MultiThreadedEventLoopGroup.singleton) {
                    true
                } status: {
                    ""
                }
            }
            #expect(try await manager.next().hasPrefix("STOPPING=1"))
            #expect(try await manager.next() == "WATCHDOG=1")
            task.cancel()
            await task.value
            await notifier.stop()
        }
    }

    /// A notifier whose manager has not read for long.
    private func withFullSocket(_ body: (ServiceNotifier, Manager) async throws -> Void) async throws {
        try await withTemporaryFolder { folder in
            let address = try #require(UnixAddress(notifySocket: folder.path("notify")))
            let manager = try Manager(address)
            let filler = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
            defer { close(filler) }
            while address.withSocketAddress({ sendto(filler, "x", 1, 0, $0, $1) }) == 1 {}
            let notifier = try notifier(address)
            try await body(notifier, manager)
            await notifier.stop()
        }
    }

    @Test("a full socket holds up neither a reload nor a stop")
    func fullSocket() async throws {
        try await withFullSocket { notifier, manager in
            // The test would stop here if one of them waited for a reader.
            notifier.reloading()
            notifier.stopping()
            var messages: [String] = []
            while messages.last?.hasPrefix("STOPPING=1") != true { messages.append(try await manager.next()) }
            #expect(messages.dropLast().last?.hasPrefix("RELOADING=1") == true, "\(messages)")
        }
    }

    @Test("a socket that stays full holds up only the first message, and the next ones come again once it is read")
    func staysFull() async throws {
        try await withFullSocket { notifier, manager in
            let start = ContinuousClock.now
            // Each would wait for two seconds: more than a minute together.
            for _ in 0..<35 { notifier.reloading() }
            await notifier.ready("lost")
            #expect(.now - start < .seconds(30))
            while try await manager.next() == "x", recv(manager.descriptor, nil, 0, CInt(MSG_PEEK)) >= 0 {}
            await notifier.ready("read")
            #expect(try await manager.next().hasPrefix("READY=1\nSTATUS=read"))
        }
    }

    @Test("signs of life come while every event loop answers, and stop while one does not")
    func watchdog() async throws {
        try await withTemporaryFolder { folder in
            let address = try #require(UnixAddress(notifySocket: folder.path("notify")))
            let manager = try Manager(address)
            let notifier = try notifier(address, watchdog: WatchdogTime(microseconds: "2000", process: nil))
            let answers = Atomic(3)
            let task = Task {
                await notifier.reportUntilCancelled(on: MultiThreadedEventLoopGroup.singleton) {
                    guard answers.subtract(1, ordering: .relaxed).newValue < 0 else { return true }
                    // Stuck, until the test ends.
                    while (try? await Task.sleep(for: .milliseconds(1))) != nil {}
                    return false
                } status: {
                    ""
                }
            }
            for _ in 0..<3 { #expect(try await manager.next() == "WATCHDOG=1") }
            try await wait(for: "the fourth question") { answers.load(ordering: .relaxed) < 0 }
            task.cancel()
            await task.value
            notifier.stopping()
            #expect(try await manager.next().hasPrefix("STOPPING=1"))
            await notifier.stop()
        }
    }

    @Test("the next sign of life comes well before the watchdog's time has passed")
    func watchdogPeriod() async throws {
        try await withTemporaryFolder { folder in
            let address = try #require(UnixAddress(notifySocket: folder.path("notify")))
            let manager = try Manager(address)
            let watchdog = try #require(WatchdogTime(microseconds: "4000000", process: nil))
            let notifier = try notifier(address, watchdog: watchdog)
            let task = Task {
                await notifier.reportUntilCancelled(on: MultiThreadedEventLoopGroup.singleton) {
                    true
                } status: {
                    ""
                }
            }
            #expect(try await manager.next() == "WATCHDOG=1")
            let first = ContinuousClock.now
            #expect(try await manager.next() == "WATCHDOG=1")
            #expect(.now - first < watchdog.time)
            task.cancel()
            await task.value
            await notifier.stop()
        }
    }

    @Test("a socket that is gone does no harm")
    func gone() async throws {
        let gone = try notifier(UnixAddress(notifySocket: "/nonexistent/notify"))
        await gone.ready("x")
        await gone.stop()
        let none = try notifier(nil)
        await none.ready("x")
        await none.reportUntilCancelled(on: MultiThreadedEventLoopGroup.singleton) {
            true
        } status: {
            ""
        }
        await none.stop()
    }
}
