import Foundation
import Synchronization
import Testing

@testable import ConfigWatch

@Suite("A file watcher's life")
struct FileWatcherLifeTests {
    private let folder: Folder
    private let reports = Reports()

    init() throws { folder = try Folder() }

    /// How many inotify watches this process has on the file.
    private func kernelWatches(on name: String) throws -> Int {
        let inode = String(try folder.identity(of: name).inode, radix: 16)
        var count = 0
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fdinfo") {
            // Descriptors of other tests come and go meanwhile.
            guard let text = try? String(contentsOfFile: "/proc/self/fdinfo/\(entry)", encoding: .utf8) else { continue }
            count += text.split(separator: "\n").count { $0.hasPrefix("inotify ") && $0.contains(" ino:\(inode) ") }
        }
        return count
    }

    @Test("leaves no watch behind, neither after thousands of calls nor after its end")
    func watches() async throws {
        for name in ["a", "b"] {
            try folder.makeFolder(name)
            try folder.write("one", to: name + "/file")
        }
        let watcher = try Means.inotify.watcher(reports)
        for number in 1...2000 {
            watcher.watch(paths: [folder(number % 2 == 0 ? "a/file" : "b/file")])
        }
        try folder.write("two", to: "a/file")
        #expect(await reports.tell(of: folder("a/file")))
        #expect(try kernelWatches(on: "a/file") == 1)
        #expect(try kernelWatches(on: "b/file") == 0)
        #expect(try kernelWatches(on: "b") == 0)
        let thread = try SharedWatchThread.enter()
        defer { SharedWatchThread.leave() }
        #expect(thread.counters.current.watches > 0)
        watcher.stop()
        for name in ["a", "a/file", "."] {
            #expect(try kernelWatches(on: name) == 0)
        }
    }

    @Test("goes on after hundreds of replaced files, each of which leaves a dead entry in the library")
    func deadEntries() async throws {
        let thread = try SharedWatchThread.enter()
        defer { SharedWatchThread.leave() }
        let before = thread.counters.current.restarts
        let watcher = try Means.inotify.watcher(reports, quiet: .milliseconds(1))
        defer { watcher.stop() }
        let names = (0..<30).map { "file\($0)" }
        for name in names { try folder.write("0", to: name) }
        watcher.watch(paths: Set(names.map { folder($0) }))
        for round in 1...10 {
            for name in names {
                try folder.write("\(round)", to: "new")
                try folder.rename("new", to: name)
            }
            for name in names { #expect(await reports.tell(of: folder(name)), "round \(round)") }
            reports.forget()
        }
        #expect(thread.counters.current.restarts > before)
    }

    @Test("goes on after the kernel's queue has overflowed")
    func overflow() async throws {
        let limit = Int(
            try String(contentsOfFile: "/proc/sys/fs/inotify/max_queued_events", encoding: .utf8).trimmingCharacters(
                in: .whitespacesAndNewlines))
        guard let limit, limit <= 32_768 else { return }
        // In memory: all tests share the thread, and on a busy disk thousands of folders would hold it up for many seconds.
        let folder = (try? Folder(in: "/dev/shm")) ?? folder
        try folder.makeFolder("a")
        for name in ["a/file", "b", "busy"] { try folder.write("one", to: name) }
        let thread = try SharedWatchThread.enter()
        defer { SharedWatchThread.leave() }
        let before = thread.counters.current.restarts
        let (entered, leave) = (Gate(), Gate())
        let watcher = FileWatcher(
            on: thread, leave: {}, timing: WatchTiming(tick: .seconds(3600)),
            listener: WatchOrder.Listener(
                onNotice: { _ in },
                onChange: { [reports, path = folder("b")] changed in
                    if changed.contains(path) {
                        entered.open()
                        leave.wait()
                    } else {
                        reports.add(changed)
                    }
                }))
        defer { watcher.stop() }
        watcher.watch(paths: [folder("a/file"), folder("b")])
        // While the thread is held up, more happens than the kernel can remember; the last thing is what counts.
        try folder.write("two", to: "b")
        entered.wait()
        for _ in 0...limit / 2 {
            mkdir(folder("x"), 0o700)
            rmdir(folder("x"))
        }
        try folder.rename("a", to: "old")
        try folder.makeFolder("a")
        try folder.write("two", to: "a/file")
        leave.open()
        #expect(await reports.tell(of: folder("a/file")))
        #expect(thread.counters.current.restarts > before)
        reports.forget()
        try folder.write("three", to: "a/file")
        #expect(await reports.tell(of: folder("a/file")))
    }

    @Test("ends when told so, with nothing called afterwards, and a second time is nothing")
    func stop() async throws {
        try folder.write("one", to: "file")
        let entered = Gate()
        let isInside = Mutex(false)
        let watcher = FileWatcher(
            on: try SharedWatchThread.enter(), leave: { SharedWatchThread.leave() },
            listener: WatchOrder.Listener(
                onNotice: { _ in },
                onChange: { [reports] changed in
                    isInside.withLock { $0 = true }
                    reports.add(changed)
                    entered.open()
                    usleep(50_000)
                    isInside.withLock { $0 = false }
                }))
        watcher.watch(paths: [folder("file")])
        try folder.write("two", to: "file")
        entered.wait()
        watcher.stop()
        let stillInside = isInside.withLock { $0 }
        #expect(!stillInside)
        watcher.stop()
        watcher.watch(paths: [folder("file")])
        try folder.write("three", to: "file")
        // Another one hears of it: then the first would have, too.
        let other = try Means.inotify.watcher(reports)
        defer { other.stop() }
        other.watch(read: [folder("file"): .bytes(Array("two".utf8))])
        #expect(await eventually { reports.changes.count >= 2 })
        #expect(reports.changes.count == 2)
    }

    @Test("may be told to watch something else, and to stop, by its own callback")
    func reentrance() async throws {
        for name in ["a", "b"] { try folder.write("one", to: name) }
        let holder = Mutex<FileWatcher?>(nil)
        let watcher = try FileWatcher { [reports, a = folder("a"), b = folder("b")] changed in
            reports.add(changed)
            holder.withLock { watcher in
                guard changed == [a] else {
                    watcher?.stop()
                    watcher = nil
                    return
                }
                watcher?.watch(read: [b: .bytes([])])
            }
        }
        watcher.watch(paths: [folder("a")])
        holder.withLock { $0 = watcher }
        try folder.write("two", to: "a")
        #expect(await reports.tell(of: folder("b")))
        let hasStopped = await eventually { holder.withLock { $0 == nil } }
        #expect(hasStopped)
    }

    @Test("ends with its last reference")
    func deinitialized() async throws {
        try folder.write("one", to: "file")
        var watcher: FileWatcher? = try Means.inotify.watcher(reports)
        watcher?.watch(paths: [folder("file")])
        watcher = nil
        #expect(try kernelWatches(on: "file") == 0)
    }

    @Test("may begin and end on many threads at once")
    func many() async throws {
        try folder.write("one", to: "file")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask { [path = folder("file")] in
                    for _ in 0..<50 {
                        guard let watcher = try? FileWatcher(onChange: { _ in }) else { continue }
                        watcher.watch(paths: [path])
                        watcher.stop()
                    }
                }
            }
        }
        #expect(try kernelWatches(on: "file") == 0)
    }

    @Test("says when there is no inotify, and when a second owner asks for the library")
    func unavailable() async throws {
        let polling = try Means.polling.watcher(reports)
        defer { polling.stop() }
        #expect(await eventually { reports.notices.count == 1 })
        guard case .inotifyUnavailable(let reason)? = reports.notices.first else {
            Issue.record("not \(reports.notices)")
            return
        }
        #expect(reason == "no inotify instance: function not implemented")
        let shared = try Means.inotify.watcher(reports)
        defer { shared.stop() }
        #expect(throws: InotifyError.inUse) { try Inotify() }
    }
}
