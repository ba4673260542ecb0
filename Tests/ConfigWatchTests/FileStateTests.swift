import Foundation
import Testing

@testable import ConfigWatch

/// Lets `#expect` call what changes the state.
private final class Known {
    private var state: FileState

    init(_ state: FileState) { self.state = state }

    func needsLook() -> Bool { state.needsLook() }
    func look(limit: Int, at now: ContinuousClock.Instant) -> Bool { state.look(limit: limit, at: now) }
}

@Suite("What is known of a file")
struct FileStateTests {
    private let folder: Folder
    private let start = ContinuousClock.now

    init() throws { folder = try Folder() }

    private func setTime(of name: String, to seconds: Int) {
        var times = [timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0)]
        utimensat(AT_FDCWD, folder(name), &times, 0)
    }

    @Test("needs no look once it has settled, until the status changes")
    func settles() throws {
        try folder.write("one", to: "file")
        let state = Known(FileState(.unknown, from: folder("file"), limit: 100, at: start))
        #expect(!state.look(limit: 100, at: start))
        #expect(state.needsLook())
        #expect(!state.look(limit: 100, at: start + .milliseconds(1999)))
        #expect(state.needsLook())
        #expect(!state.look(limit: 100, at: start + .seconds(2)))
        #expect(!state.needsLook())
        setTime(of: "file", to: 1)
        #expect(state.needsLook())
        #expect(!state.look(limit: 100, at: start + .seconds(3)))
    }

    @Test("finds a second write that left the status as it was")
    func sameStatus() throws {
        try folder.write("one", to: "file")
        // As if read before the write, with the status of after it.
        let state = Known(FileState(.bytes(Array("two".utf8)), from: folder("file"), limit: 100, at: start))
        #expect(state.look(limit: 100, at: start))
        #expect(!state.look(limit: 100, at: start))
        #expect(state.needsLook())
    }

    @Test("counts missing as a content")
    func missing() throws {
        let state = Known(FileState(.unknown, from: folder("file"), limit: 100, at: start))
        #expect(!state.look(limit: 100, at: start))
        try folder.write("", to: "file")
        #expect(state.look(limit: 100, at: start))
        try folder.remove("file")
        #expect(state.look(limit: 100, at: start))
        #expect(!state.look(limit: 100, at: start))
    }

    @Test("compares with content that was read, or could not be read")
    func read() throws {
        try folder.write("one", to: "file")
        let same = Known(FileState(.bytes(Array("one".utf8)), from: folder("file"), limit: 100, at: start))
        #expect(!same.look(limit: 100, at: start))
        let unread = Known(FileState(.unreadable, from: folder("file"), limit: 100, at: start))
        #expect(unread.look(limit: 100, at: start))
        let stillMissing = Known(FileState(.unreadable, from: folder("none"), limit: 100, at: start))
        #expect(!stillMissing.look(limit: 100, at: start))
    }

    @Test("content that was not read counts as it is at that moment: a change before the first look is one")
    func unread() throws {
        try folder.write("one", to: "file")
        let changed = Known(FileState(.unknown, from: folder("file"), limit: 100, at: start))
        try folder.write("two", to: "file")
        #expect(changed.look(limit: 100, at: start))
        try folder.write("123456", to: "large")
        let shorter = Known(FileState(.unknown, from: folder("large"), limit: 5, at: start))
        #expect(!shorter.look(limit: 5, at: start))
        try folder.write("12345", to: "large")
        #expect(shorter.look(limit: 5, at: start))
    }

    @Test("tells a large file by size and modification time")
    func large() throws {
        try folder.write("123456", to: "file")
        setTime(of: "file", to: 1)
        let state = Known(FileState(.unknown, from: folder("file"), limit: 5, at: start))
        #expect(chmod(folder("file"), 0o600) == 0)
        #expect(!state.look(limit: 5, at: start))
        setTime(of: "file", to: 2)
        #expect(state.look(limit: 5, at: start))
    }
}
