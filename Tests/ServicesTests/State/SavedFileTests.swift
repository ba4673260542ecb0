import Glibc
import NIOCore
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("Saved file")
struct SavedFileTests {
    private static let now = SavedApps.Writing(moment: SystemClock.now(), boot: "boot")

    private func app(_ name: String, size: Int = 3) throws -> AppEntry {
        AppEntry(
            name: try #require(AppName(name)), source: .push(listener: "l"), lastUpdate: Self.now.moment,
            exposition: Exposition(addingNewlineTo: ByteBuffer(repeating: UInt8(ascii: "x"), count: size)), state: .ok)
    }

    private func names(_ file: SavedFile) throws -> [String] {
        var names: [String] = []
        _ = try file.read(at: Self.now) { names.append($0.name.description) }
        return names
    }

    @Test("what one writes the next one reads; the file is its owner's alone, and nothing lies beside it")
    func roundTrip() async throws {
        try await withTemporaryFolder { folder in
            do {
                let file = try SavedFile(folder.path("s"))
                #expect(try !file.lock())
                let size = try file.write([app("a"), app("b", size: 3 << 20)], at: Self.now)
                #expect(size > 3 << 20)
                _ = try file.write([app("c"), app("d", size: 3 << 20)], at: Self.now)
            }
            #expect(folder.mode(of: "s") == 0o600)
            let next = try SavedFile(folder.path("s"))
            #expect(try next.lock())
            #expect(try names(next) == ["c", "d"])
            #expect(try FileList.names(in: folder) == ["s"])
        }
    }

    @Test("the lock keeps others away, over writings, until it is let go of")
    func lock() async throws {
        try await withTemporaryFolder { folder in
            var first: SavedFile? = try SavedFile(folder.path("s"))
            let second = try SavedFile(folder.path("s"))
            _ = try first?.write([app("a")], at: Self.now)
            for _ in 0..<3 {
                #expect(throws: SavedFileError.self) { try second.lock() }
                #expect(throws: SavedFileError.self) { try second.write([], at: Self.now) }
                _ = try first?.write([app("b")], at: Self.now)
            }
            first = nil
            #expect(try second.lock())
            #expect(try names(second) == ["b"])
        }
    }

    @Test("under another path, the file in use shares its lock, and others stay away until both have let go of it")
    func sharedLock() async throws {
        try await withTemporaryFolder { folder in
            try #require(mkdir(folder.path("folder"), 0o700) == 0)
            try #require(symlink("folder", folder.path("link")) == 0)
            var first: SavedFile? = try SavedFile(folder.path("link/s"))
            _ = try first?.write([app("a")], at: Self.now)
            var second: SavedFile? = try SavedFile(folder.path("folder/s"))
            #expect(throws: SavedFileError.self) { try second?.lock() }
            #expect(try second?.lock(sharing: first) == true)
            let other = try SavedFile(folder.path("folder/s"))
            first = nil
            #expect(throws: SavedFileError.self) { try other.lock() }
            _ = try second?.write([app("b")], at: Self.now)
            #expect(throws: SavedFileError.self) { try other.lock() }
            second = nil
            #expect(try other.lock())
            #expect(try names(other) == ["b"])
        }
    }

    @Test("of two that find no file, one has it")
    func race() async throws {
        try await withTemporaryFolder { folder in
            let (first, second) = try (SavedFile(folder.path("s")), SavedFile(folder.path("s")))
            #expect(try !first.lock())
            #expect(try !second.lock())
            _ = try first.write([app("a")], at: Self.now)
            #expect(throws: SavedFileError.self) { try second.write([], at: Self.now) }
            #expect(try names(first) == ["a"])
        }
    }

    @Test("of two that write the first file at the same time, the other is told that it is in use")
    func raceOfWritings() async throws {
        try await withTemporaryFolder { folder in
            let (first, second) = try (SavedFile(folder.path("s")), SavedFile(folder.path("s")))
            // This takes a while, in which the other one writes its file and removes the temporary file of this one.
            let many = Array(repeating: try app("large", size: 4 << 20), count: 32)
            let slow = Task.detached { Result { try second.write(many, at: Self.now) } }
            try await wait(for: "the temporary file") { try !FileList.names(in: folder).isEmpty }
            let results = [Result { try first.write([app("a")], at: Self.now) }, await slow.value]
            let failures = results.compactMap { result -> String? in
                if case .failure(let error) = result { "\(error)" } else { nil }
            }
            #expect(failures == [SavedFileError.inUse.description])
            #expect(try FileList.names(in: folder) == ["s"])
        }
    }

    @Test("a file that was removed or replaced by another program is written again")
    func replaced() async throws {
        try await withTemporaryFolder { folder in
            let file = try SavedFile(folder.path("s"))
            _ = try file.write([app("a")], at: Self.now)
            #expect(unlink(folder.path("s")) == 0)
            _ = try file.write([app("b")], at: Self.now)
            try folder.write("other", "something")
            #expect(rename(folder.path("other"), folder.path("s")) == 0)
            _ = try file.write([app("c")], at: Self.now)
            #expect(try names(file) == ["c"])
            #expect(try FileList.names(in: folder) == ["s"])
        }
    }

    @Test("a file that another process has put in place is not replaced")
    func replacedByAnother() async throws {
        try await withTemporaryFolder { folder in
            let first = try SavedFile(folder.path("s"))
            _ = try first.write([app("a")], at: Self.now)
            #expect(unlink(folder.path("s")) == 0)
            var second: SavedFile? = try SavedFile(folder.path("s"))
            _ = try second?.write([app("b")], at: Self.now)
            #expect(throws: SavedFileError.self) { try first.write([app("c")], at: Self.now) }
            second = nil
            let third = try SavedFile(folder.path("s"))
            #expect(try third.lock())
            #expect(try names(third) == ["b"])
        }
    }

    @Test("a writing that fails leaves nothing beside what is there")
    func failed() async throws {
        try await withTemporaryFolder { folder in
            // No file can take the place of a folder.
            try folder.write("s/other", "x")
            let file = try SavedFile(folder.path("s"))
            #expect(throws: SavedFileError.self) { try file.write([app("a")], at: Self.now) }
            #expect(try FileList.names(in: folder) == ["s"])
        }
    }

    @Test("what cannot be opened is not replaced, and the error says so; a link is replaced")
    func unreadable() async throws {
        try await withTemporaryFolder { folder in
            // Also root cannot open a socket.
            #expect(mknod(folder.path("s"), S_IFSOCK | 0o600, 0) == 0)
            let file = try SavedFile(folder.path("s"))
            #expect(try !file.lock())
            #expect(file.cannotBeReplaced?.description.hasPrefix("cannot read it: no such device or address: ") == true)
            let apps = [try app("a")]
            do throws(SavedFileError) {
                _ = try file.write(apps, at: Self.now)
                Issue.record("it was replaced")
            } catch {
                #expect("\(error)".hasPrefix("cannot read it: no such device or address: "), "\(error)")
            }
            #expect(symlink("s", folder.path("link")) == 0)
            let link = try SavedFile(folder.path("link"))
            #expect(try !link.lock())
            #expect(link.cannotBeReplaced == nil)
            _ = try link.write(apps, at: Self.now)
            #expect(try FileList.names(in: folder) == ["link", "s"])
        }
    }

    @Test("a name may have 236 bytes, so that its temporary name fits; longer ones are a fault")
    func longNames() async throws {
        try await withTemporaryFolder { folder in
            let longest = folder.path(String(repeating: "s", count: 236))
            #expect(SavedFile.fault(in: longest) == nil)
            // The random part of the temporary name has 13 digits nearly always.
            for _ in 0..<10 { _ = try SavedFile(longest).write([app("a")], at: Self.now) }
            #expect(SavedFile.fault(in: longest + "s")?.hasPrefix("the name of the file is too long: at most 236 bytes") == true)
        }
    }

    @Test("what killed writings left behind goes, and no other file")
    func leftovers() async throws {
        try await withTemporaryFolder { folder in
            _ = try SavedFile(folder.path("s")).write([app("a")], at: Self.now)
            for name in [".s.new-1abc", ".s.new-", ".t.new-1", "s.new-1"] { try folder.write(name, "x") }
            #expect(try SavedFile(folder.path("s")).lock())
            #expect(try FileList.names(in: folder) == [".t.new-1", "s", "s.new-1"])
        }
    }

    @Test("what a killed first writing left behind goes with the next one")
    func leftoversOfTheFirst() async throws {
        try await withTemporaryFolder { folder in
            for name in [".s.new-1abc", ".t.new-1"] { try folder.write(name, "x") }
            let file = try SavedFile(folder.path("s"))
            #expect(try !file.lock())
            _ = try file.write([app("a")], at: Self.now)
            #expect(try FileList.names(in: folder) == [".t.new-1", "s"])
        }
    }

    @Test("a folder, a socket, a named pipe or a device can be no state file, and stays as it is")
    func faults() async throws {
        try await withTemporaryFolder { folder in
            #expect(mkdir(folder.path("folder"), 0o700) == 0)
            #expect(mkfifo(folder.path("pipe"), 0o600) == 0)
            #expect(mknod(folder.path("socket"), S_IFSOCK | 0o600, 0) == 0)
            for (name, kind) in [("folder", "a folder"), ("pipe", "a named pipe"), ("socket", "a socket")] {
                #expect(SavedFile.fault(in: folder.path(name))?.contains("is \(kind), not a file") == true)
                // It may also come there later.
                let file = try SavedFile(folder.path(name))
                #expect(throws: SavedFileError.self) { try file.write([app("a")], at: Self.now) }
            }
            #expect(try FileList.names(in: folder) == ["folder", "pipe", "socket"])
            #expect(symlink(folder.path("folder"), folder.path("link")) == 0)
            #expect(SavedFile.fault(in: folder.path("link"))?.contains("is a folder") == true)
            #expect(SavedFile.fault(in: folder.path("s")) == nil)
            #expect(SavedFile.fault(in: folder.path("missing/s"))?.contains("does not exist") == true)
            #expect(SavedFile.fault(in: "/dev/null")?.contains("device") == true)
            #expect(mkdir(folder.path("s.broken"), 0o700) == 0)
            #expect(SavedFile.fault(in: folder.path("s"))?.hasSuffix("\(folder.path("s.broken")), which is a folder") == true)
            #expect(symlink(folder.path("folder"), folder.path("t.broken")) == 0)
            #expect(SavedFile.fault(in: folder.path("t")) == nil)
        }
    }

    @Test("a link that leads nowhere is moved aside")
    func danglingLink() async throws {
        try await withTemporaryFolder { folder in
            #expect(symlink("nowhere", folder.path("s")) == 0)
            let file = try SavedFile(folder.path("s"))
            #expect(try !file.lock())
            #expect(file.cannotBeOpened != nil)
            try file.moveAside()
            _ = try file.write([app("a")], at: Self.now)
            #expect(try FileList.names(in: folder) == ["s", "s.broken"])
        }
    }

    @Test("a folder that is moved, removed or made anew: the file is written where the path leads")
    func anotherFolder() async throws {
        try await withTemporaryFolder { folder in
            #expect(mkdir(folder.path("d"), 0o700) == 0)
            let file = try SavedFile(folder.path("d/s"))
            _ = try file.write([app("a")], at: Self.now)
            #expect(rename(folder.path("d"), folder.path("old")) == 0)
            #expect(throws: SavedFileError.self) { try file.write([app("b")], at: Self.now) }
            #expect(mkdir(folder.path("d"), 0o700) == 0)
            _ = try file.write([app("c")], at: Self.now)
            #expect(try names(file) == ["c"])
            // The lock has moved too.
            let (old, new) = try (SavedFile(folder.path("old/s")), SavedFile(folder.path("d/s")))
            #expect(try old.lock())
            #expect(try names(old) == ["a"])
            #expect(throws: SavedFileError.self) { try new.lock() }
        }
    }
}

/// What lies in a folder, the files of running programs left out.
enum FileList {
    static func names(in folder: TemporaryFolder) throws -> [String] {
        guard let stream = opendir(folder.path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names.filter { $0 != "." && $0 != ".." }.sorted()
    }
}
