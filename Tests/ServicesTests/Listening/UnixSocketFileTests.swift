import Glibc
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("UnixSocketFile")
struct UnixSocketFileTests {
    /// Binds and publishes; the descriptor is the caller's.
    private func make(_ config: UnixSocketConfig) throws -> (descriptor: CInt, file: UnixSocketFile) {
        let pending = try UnixSocketFile.bind(config)
        try #require(listen(pending.descriptor, 8) == 0)
        return (pending.descriptor, try pending.publish())
    }

    private func found(_ path: String) -> stat? {
        var status = stat()
        return lstat(path, &status) == 0 ? status : nil
    }

    private func reason(_ config: UnixSocketConfig) -> String? {
        do throws(ListenError) {
            let pending = try UnixSocketFile.bind(config)
            close(pending.descriptor)
            pending.abandon()
            return nil
        } catch {
            return error.reason
        }
    }

    @Test("the file has its mode before anyone can connect, and goes with its removal", arguments: [0o660, 0o600, 0o666] as [UInt16])
    func mode(mode: UInt16) async throws {
        try await withTemporaryFolder { folder in
            let config = UnixSocketConfig(path: folder.path("a.sock"), mode: mode)
            let pending = try UnixSocketFile.bind(config)
            #expect(!folder.contains("a.sock"))
            let file = try pending.publish()
            let status = try #require(found(config.path))
            #expect(status.st_mode & S_IFMT == S_IFSOCK)
            #expect(status.st_mode & 0o777 == mode_t(mode))
            file.remove()
            close(pending.descriptor)
            #expect(!folder.contains("a.sock"))
        }
    }

    @Test("an abandoned one leaves nothing behind")
    func abandoned() async throws {
        try await withTemporaryFolder { folder in
            let pending = try UnixSocketFile.bind(UnixSocketConfig(path: folder.path("a.sock")))
            close(pending.descriptor)
            pending.abandon()
            let left = try filesIn(folder)
            #expect(left == [])
        }
    }

    @Test("a stale socket is replaced, a live one is left alone")
    func staleAndLive() async throws {
        try await withTemporaryFolder { folder in
            let config = UnixSocketConfig(path: folder.path("a.sock"))
            let (descriptor, _) = try make(config)
            #expect(reason(config) == "another process is listening on it")
            #expect(folder.contains("a.sock"))
            // Killed: the file stays, nobody listens.
            close(descriptor)
            let (again, file) = try make(config)
            #expect(reason(config) != nil)
            file.remove()
            close(again)
        }
    }

    @Test("a file of another kind is never touched")
    func regularFile() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("file", "precious")
            try #require(mkdir(folder.path("folder"), 0o755) == 0)
            try #require(symlink("nowhere", folder.path("link")) == 0)
            for name in ["file", "folder", "link"] {
                #expect(reason(UnixSocketConfig(path: folder.path(name))) == "a file is there that is not a socket; it is left alone")
                #expect(folder.contains(name))
            }
            let left = try filesIn(folder)
            #expect(left == ["file", "folder", "link"])
        }
    }

    @Test("a file that has taken our place is not removed")
    func replaced() async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("a.sock")
            let (descriptor, file) = try make(UnixSocketConfig(path: path))
            unlink(path)
            try folder.write("a.sock", "another's")
            file.remove()
            #expect(folder.contains("a.sock"))
            close(descriptor)
        }
    }

    @Test("unknown users and groups, and folders that are not there, are told by name and key")
    func faults() async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("a.sock")
            #expect(reason(UnixSocketConfig(path: folder.path("none/a.sock"))) == "the folder \(folder.path("none")) does not exist")
            for (config, key, reason) in [
                (UnixSocketConfig(path: path, user: .name("no-such-user")), "unix_socket_user", "unknown user no-such-user"),
                (UnixSocketConfig(path: path, group: .name("no-such-group")), "unix_socket_group", "unknown group no-such-group"),
            ] {
                #expect(throws: ListenError(path, reason, key: key)) { _ = try UnixSocketFile.bind(config) }
            }
            let left = try filesIn(folder)
            #expect(left == [])
        }
    }

    @Test("owner and group are given by number or name", .enabled(if: geteuid() == 0))
    func owner() async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("a.sock")
            for (user, group) in [
                (UnixSocketConfig.Principal.id(4242), UnixSocketConfig.Principal.id(4343)), (.current, .id(77)),
                (.name("daemon"), .name("daemon")),
            ] {
                let (descriptor, file) = try make(UnixSocketConfig(path: path, user: user, group: group))
                let status = try #require(found(path))
                switch (user, group) {
                case (.id(let user), .id(let group)): #expect(status.st_uid == user && status.st_gid == group)
                case (.current, .id(let group)): #expect(status.st_uid == geteuid() && status.st_gid == group)
                default: #expect(status.st_uid != geteuid() && status.st_gid != getegid())
                }
                file.remove()
                close(descriptor)
            }
        }
    }

    @Test("the path may have 107 bytes, its folder 100; longer ones are refused")
    func length() async throws {
        try await withTemporaryFolder { folder in
            let name = String(repeating: "s", count: 107 - folder.path.utf8.count - 1)
            #expect(reason(UnixSocketConfig(path: folder.path(name))) == nil)
            #expect(reason(UnixSocketConfig(path: folder.path(name + "s")))?.contains("too long") == true)
        }
    }

    private func filesIn(_ folder: TemporaryFolder) throws -> [String] {
        let stream = try #require(opendir(folder.path))
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
