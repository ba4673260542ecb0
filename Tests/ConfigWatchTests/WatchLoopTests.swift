import Foundation
import Synchronization
import Testing

@testable import ConfigWatch

@Suite("The watching thread")
struct WatchLoopTests {
    private let folder: Folder
    private let kernel = FakeKernel()
    private let reports = Reports()

    init() throws {
        folder = try Folder()
        try folder.write("one", to: "file")
    }

    private func watcher(on thread: WatchThread, tick: Duration = .seconds(3600)) -> FileWatcher {
        let watcher = FileWatcher(
            on: thread, leave: { thread.quit() }, timing: WatchTiming(tick: tick),
            listener: WatchOrder.Listener(onNotice: { [reports] in reports.add($0) }, onChange: { [reports] in reports.add($0) }))
        watcher.watch(paths: [folder("file")])
        return watcher
    }

    private func identity(_ name: String) throws -> FileIdentity {
        let identity = try folder.identity(of: name)
        return FileIdentity(device: UInt64(identity.device), inode: UInt64(identity.inode))
    }

    @Test("looks at everything after an overflow")
    func overflow() async throws {
        let thread = try kernel.thread()
        let watcher = watcher(on: thread)
        defer { watcher.stop() }
        #expect(await eventually { thread.counters.current.looks == 1 })
        try folder.write("two", to: "file")
        kernel.happen(.overflow)
        #expect(await reports.tell(of: folder("file")))
    }

    @Test("looks after what concerns a file, and not after what else happens in its folders")
    func concerns() async throws {
        let thread = try kernel.thread()
        let watcher = watcher(on: thread)
        defer { watcher.stop() }
        #expect(await eventually { thread.counters.current.looks == 1 })
        let directory = try identity(".")
        for number in 1...100 { kernel.happen(.touched(directory, name: "other\(number)")) }
        #expect(await eventually { kernel.current.changes.isEmpty })
        // It comes to rest, and there is still one look, although by now a second one would have come.
        var wakeUps = -1
        for _ in 0..<50 where thread.counters.current.wakeUps != wakeUps {
            wakeUps = thread.counters.current.wakeUps
            await pass(.milliseconds(150))
        }
        #expect(thread.counters.current.wakeUps == wakeUps)
        #expect(thread.counters.current.looks == 1)
        for (identity, name) in [(directory, "file"), (directory, ""), (try identity("file"), "")] {
            let looks = thread.counters.current.looks
            kernel.happen(.touched(identity, name: name))
            #expect(await eventually { thread.counters.current.looks == looks + 1 })
        }
        #expect(reports.changes.isEmpty)
    }

    @Test("sleeps while nothing happens, but for one stat a tick")
    func idle() async throws {
        let thread = try kernel.thread()
        let watcher = watcher(on: thread, tick: .milliseconds(50))
        defer { watcher.stop() }
        // Until the file has settled, it is looked at now and then.
        await pass(FileState.settlingTime + .milliseconds(500))
        let (start, looks) = (ContinuousClock.now, thread.counters.current.looks)
        let before = thread.counters.current.wakeUps
        #expect(await eventually { thread.counters.current.wakeUps >= before + 10 })
        #expect(start.duration(to: .now) > .milliseconds(9 * 50))
        #expect(thread.counters.current.looks == looks)
    }

    @Test("does not wake up at all with nothing to watch")
    func nothing() async throws {
        let thread = try kernel.thread()
        let watcher = watcher(on: thread, tick: .milliseconds(1))
        defer { watcher.stop() }
        #expect(await eventually { thread.counters.current.wakeUps > 20 })
        watcher.watch(paths: [])
        #expect(await eventually { kernel.current.wanted.isEmpty })
        let before = thread.counters.current.wakeUps
        await pass(.milliseconds(100))
        #expect(thread.counters.current.wakeUps <= before + 1)
    }

    @Test("polls while there is no inotify, tries again, and finds what changed meanwhile")
    func outage() async throws {
        kernel.state.withLock { $0.openingFailure = .notAvailable(EMFILE) }
        let thread = try kernel.thread(retryInterval: .milliseconds(50))
        let watcher = watcher(on: thread)
        defer { watcher.stop() }
        #expect(await eventually { kernel.current.opened >= 3 })
        try folder.write("two", to: "file")
        kernel.state.withLock { $0.openingFailure = nil }
        #expect(await reports.tell(of: folder("file")))
        #expect(await eventually { !kernel.current.wanted.isEmpty })
        #expect(reports.notices == [.inotifyUnavailable(reason: InotifyError.notAvailable(EMFILE).description), .inotifyAvailable])
    }

    @Test("falls back to polling when inotify gets lost")
    func lost() async throws {
        let thread = try kernel.thread()
        let watcher = watcher(on: thread, tick: .milliseconds(20))
        defer { watcher.stop() }
        #expect(await eventually { thread.counters.current.looks >= 1 })
        kernel.state.withLock { $0.armingFailure = .descriptorTooHigh(1024) }
        kernel.happen(.overflow)
        #expect(await eventually { !reports.notices.isEmpty })
        try folder.write("two", to: "file")
        #expect(await reports.tell(of: folder("file")))
        #expect(reports.notices == [.inotifyUnavailable(reason: InotifyError.descriptorTooHigh(1024).description)])
    }

    @Test("a stop with a time limit does not wait for a file that does not answer, and then leaves the thread alone")
    func stopWithinATime() throws {
        let thread = try kernel.thread()
        let (entered, answer) = (Gate(), Gate())
        let hasLeft = Mutex(false)
        // The callback holds up the thread, as a call does that asks for the file.
        let watcher = FileWatcher(
            on: thread, leave: { hasLeft.withLock { $0 = true } }, timing: WatchTiming(tick: .seconds(3600)),
            listener: WatchOrder.Listener(
                onNotice: { _ in },
                onChange: { _ in
                    entered.open()
                    answer.wait()
                }))
        watcher.watch(read: [folder("file"): .bytes([])])
        entered.wait()
        // The test would stop here.
        watcher.stop(within: .milliseconds(1))
        let hasLeftThread = hasLeft.withLock { $0 }
        #expect(!hasLeftThread)
        answer.open()
        thread.quit()
    }

    @Test("a stop with a time limit ends the thread when its files answer")
    func stopInTime() throws {
        let watcher = watcher(on: try kernel.thread())
        watcher.stop(within: .seconds(600))
        #expect(kernel.current.wanted.isEmpty)
    }

    @Test("says once what the kernel does not watch, and again when that changes")
    func refused() async throws {
        kernel.state.withLock { $0.refused = ["/etc": EACCES] }
        let thread = try kernel.thread()
        let watcher = watcher(on: thread)
        defer { watcher.stop() }
        #expect(await eventually { thread.counters.current.looks == 1 })
        kernel.happen(.overflow)
        #expect(await eventually { thread.counters.current.looks == 2 })
        #expect(reports.notices == [.notWatched(path: "/etc", reason: "permission denied")])
        kernel.state.withLock { $0.refused = ["/etc": ENOSPC] }
        kernel.happen(.overflow)
        #expect(await eventually { reports.notices.count == 2 })
        #expect(reports.notices.last?.description.contains("fs.inotify.max_user_watches") == true)
    }
}
