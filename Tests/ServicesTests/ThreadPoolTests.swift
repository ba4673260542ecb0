import Dispatch
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Services

extension ThreadPool {
    /// For parts under test that only need some threads.
    static let ofTests: ThreadPool = {
        let pool = ThreadPool("tests", threads: 2)
        // Without a thread no test could run.
        do { try pool.start() } catch { preconditionFailure("\(error)") }
        return pool
    }()
}

@Suite("ThreadPool")
struct ThreadPoolTests {
    @Test("work is done in the order in which it came, also before the start")
    func order() async throws {
        let pool = ThreadPool("test")
        let done = Mutex<[Int]>([])
        for number in 0..<100 { pool.submit { _ in done.withLock { $0.append(number) } } }
        try pool.start()
        for number in 100..<200 { pool.submit { _ in done.withLock { $0.append(number) } } }
        try await pool.run {}
        #expect(done.withLock { $0 } == Array(0..<200))
        await pool.end()
    }

    @Test("all threads work at the same time")
    func threads() async throws {
        let pool = ThreadPool("test", threads: 3)
        try pool.start()
        let begun = Atomic(0)
        let opened = DispatchSemaphore(value: 0)
        for _ in 0..<3 {
            pool.submit { _ in
                begun.add(1, ordering: .relaxed)
                opened.wait()
            }
        }
        try await wait(for: "three pieces of work to begin") { begun.load(ordering: .relaxed) == 3 }
        for _ in 0..<3 { opened.signal() }
        await pool.end()
    }

    @Test("an end waits for the work that runs, and refuses what waits")
    func end() async throws {
        let pool = ThreadPool("test")
        try pool.start()
        let begun = Atomic(false)
        let opened = DispatchSemaphore(value: 0)
        let states = Mutex<[Bool]>([])
        let ends = Atomic(0)
        pool.submit { isActive in
            begun.store(true, ordering: .relaxed)
            opened.wait()
            states.withLock { $0.append(isActive) }
        }
        try await wait(for: "the work to begin") { begun.load(ordering: .relaxed) }
        pool.submit { isActive in states.withLock { $0.append(isActive) } }
        for _ in 0..<2 { pool.end { ends.add(1, ordering: .relaxed) } }
        #expect(ends.load(ordering: .relaxed) == 0)
        opened.signal()
        try await wait(for: "both ends") { ends.load(ordering: .relaxed) == 2 }
        #expect(states.withLock { $0 } == [true, false])
    }

    @Test("after an end, work is refused at once", arguments: [true, false])
    func afterTheEnd(wasStarted: Bool) async throws {
        let pool = ThreadPool("test")
        let isActive = Mutex<Bool?>(nil)
        let earlier = Mutex<Bool?>(nil)
        if wasStarted { try pool.start() } else { pool.submit { state in earlier.withLock { $0 = state } } }
        await pool.end()
        if !wasStarted { #expect(earlier.withLock { $0 } == false) }
        try pool.start()
        pool.submit { state in isActive.withLock { $0 = state } }
        #expect(isActive.withLock { $0 } == false)
        await #expect(throws: ThreadsEnded.self) { try await pool.run {} }
        await #expect(throws: ThreadsEnded.self) {
            try await pool.run(on: MultiThreadedEventLoopGroup.singleton.next()) {}.get()
        }
    }
}

@Suite("EventLoopGroup.sleep")
struct SleepTests {
    private let group = MultiThreadedEventLoopGroup.singleton

    @Test("it returns after the time, or throws as soon as the task is cancelled")
    func sleep() async throws {
        try await group.sleep(for: .milliseconds(1))
        let sleeping = Task { try await group.sleep(for: .seconds(3600)) }
        sleeping.cancel()
        await #expect(throws: (any Error).self) { try await sleeping.value }
    }
}
