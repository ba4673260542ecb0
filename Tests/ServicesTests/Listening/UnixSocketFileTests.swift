import Glibc
import Proxy
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("UnixSocketFile")
struct UnixSocketFileTests {
    /// Binds, listens and publishes; the caller closes the descriptor.
    private func make(_ config: UnixSocketConfig, replacing ours: [UnixSocketFile] = []) throws -> (descriptor: CInt, file: UnixSocketFile)
    {
        let pending = try UnixSocketFile.bind(config, replacing: ours)
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

    /// 0 when a process accepts at the path, otherwise the `errno`.
    private func connects(to path: String) -> CInt {
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        return result == 0 ? 0 : errno
    }

    /// Closes a listening socket, and waits until it is gone: a program that another test starts may hold it for a moment longer.
    private func end(_ descriptor: CInt, at path: String) async throws {
        close(descriptor)
        try await wait(for: "the socket to end") { connects(to: path) == ECONNREFUSED }
    }

    /// The names of Unix sockets that the kernel shows, as `ss` does.
    private func namesInKernel() throws -> String {
        let descriptor = open("/proc/net/unix", O_RDONLY)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }

    @Test(
        "the file has its mode before clients can connect, whatever the umask, and is removed",
        arguments: [0o660, 0o600, 0o666] as [UInt16])
    func mode(mode: UInt16) async throws {
        try await withTemporaryFolder { folder in
            let config = UnixSocketConfig(path: folder.path("a.sock"), mode: mode)
            let pending = try UnixSocketFile.bind(config)
            let status = try #require(found(config.path))
            #expect(status.st_mode & S_IFMT == S_IFSOCK)
            #expect(status.st_mode & 0o7777 == mode_t(mode))
            #expect(connects(to: config.path) == ECONNREFUSED)
            let file = try pending.publish()
            #expect(try #require(found(config.path)).st_ino == status.st_ino)
            file.remove()
            close(pending.descriptor)
            #expect(!folder.contains("a.sock"))
        }
    }

    @Test("the kernel knows the socket by its path")
    func name() async throws {
        try await withTemporaryFolder { folder in
            let path = folder.path("a.sock")
            let (descriptor, file) = try make(UnixSocketConfig(path: path))
            let names = try namesInKernel()
            #expect(names.contains(" \(path)\n"))
            file.remove()
            close(descriptor)
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
            #expect(throws: ListenError(config.path, "another process is listening on it", isAddressInUse: true)) {
                _ = try UnixSocketFile.bind(config)
            }
            #expect(folder.contains("a.sock"))
            // As after a kill: the file stays, no process listens.
            try await end(descriptor, at: config.path)
            let (again, file) = try make(config)
            #expect(reason(config) != nil)
            file.remove()
            close(again)
            let left = try filesIn(folder)
            #expect(left == [])
        }
    }

    @Test("the file of a running listener is replaced in one step, and clients never find the path empty")
    func replacesOurs() async throws {
        try await withTemporaryFolder { folder in
            let config = UnixSocketConfig(path: folder.path("a.sock"))
            let (old, oldFile) = try make(config)
            let pending = try UnixSocketFile.bind(UnixSocketConfig(path: config.path, mode: 0o600), replacing: [oldFile])
            try #require(listen(pending.descriptor, 8) == 0)
            // Still the old one.
            try await end(old, at: config.path)
            let file = try pending.publish()
            #expect(connects(to: config.path) == 0)
            #expect(try #require(found(config.path)).st_mode & 0o7777 == 0o600)
            // The old owner does not remove what is not its own.
            oldFile.remove()
            let left = try filesIn(folder)
            #expect(left == ["a.sock"])
            file.remove()
            close(pending.descriptor)
        }
    }

    @Test("what came since the check is not replaced")
    func cameSince() async throws {
        try await withTemporaryFolder { folder in
            let config = UnixSocketConfig(path: folder.path("a.sock"))
            let (old, oldFile) = try make(config)
            let pending = try UnixSocketFile.bind(config, replacing: [oldFile])
            unlink(config.path)
            try folder.write("a.sock", "another's")
            #expect(throws: ListenError(config.path, "another file came there in the meantime; it is left alone")) {
                _ = try pending.publish()
            }
            pending.abandon()
            let left = try filesIn(folder)
            #expect(left == ["a.sock"])
            #expect(try #require(found(config.path)).st_mode & S_IFMT == S_IFREG)
            close(old)
            close(pending.descriptor)
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
            #expect(!file.isGone)
            unlink(path)
            #expect(file.isGone)
            try folder.write("a.sock", "another's")
            #expect(!file.isGone)
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

    @Test("owner and group are given by number or name", .enabled(if: geteuid() == 0, "needs root"))
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

    @Test("the path may have 107 bytes, whatever its folder has; longer ones are refused")
    func length() async throws {
        try await withTemporaryFolder { folder in
            let name = String(repeating: "s", count: 107 - folder.path.utf8.count - 1)
            #expect(reason(UnixSocketConfig(path: folder.path(name))) == nil)
            #expect(reason(UnixSocketConfig(path: folder.path(name + "s"))) == "the path is too long for a Unix socket (at most 107 bytes)")
            let long = String(repeating: "f", count: 107 - folder.path.utf8.count - 3)
            try #require(mkdir(folder.path(long), 0o755) == 0)
            let config = UnixSocketConfig(path: folder.path("\(long)/s"))
            #expect(config.path.utf8.count == 107)
            let (old, oldFile) = try make(config)
            let (new, newFile) = try make(config, replacing: [oldFile])
            #expect(connects(to: config.path) == 0)
            newFile.remove()
            close(old)
            close(new)
        }
    }

    /// Another user's folder, and a thread that swaps what is in it as fast as it can: a file of root's must never get another mode or owner.
    @Test("no file of root's is changed through a path that is swapped", .enabled(if: geteuid() == 0, "needs root"))
    func swappedPath() async throws {
        try await withTemporaryFolder { folder in
            let precious = try folder.write("precious", "root's")
            chmod(precious, 0o600)
            let foreign = folder.path("foreign")
            try #require(mkdir(foreign, 0o755) == 0 && chown(foreign, 4242, 4242) == 0)
            let path = "\(foreign)/a.sock"
            let isDone = Atomic<Bool>(false)
            let attacker = try SwappingThread(path: path, target: precious, until: { isDone.load(ordering: .relaxed) })
            var made = 0
            for _ in 0..<2000 {
                guard let pending = try? UnixSocketFile.bind(UnixSocketConfig(path: path, user: .id(4242), group: .id(4242), mode: 0o662))
                else { continue }
                made += 1
                _ = try? pending.publish()
                pending.abandon()
                close(pending.descriptor)
            }
            isDone.store(true, ordering: .relaxed)
            attacker.join()
            let status = try #require(found(precious))
            #expect(status.st_mode & 0o7777 == 0o600)
            #expect(status.st_uid == 0 && status.st_gid == 0)
            // Otherwise nothing was tried.
            #expect(made > 0)
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

/// Puts a symbolic link, and then nothing, in the place of a path, over and over.
private final class SwappingThread {
    private final class Work {
        let path: String
        let target: String
        let isDone: () -> Bool

        init(path: String, target: String, isDone: @escaping () -> Bool) {
            self.path = path
            self.target = target
            self.isDone = isDone
        }
    }

    private var thread = pthread_t()

    init(path: String, target: String, until isDone: @escaping () -> Bool) throws {
        let work = Unmanaged.passRetained(Work(path: path, target: target, isDone: isDone))
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let work = Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
                let link = work.path + ".link"
                while !work.isDone() {
                    symlink(work.target, link)
                    rename(link, work.path)
                    unlink(work.path)
                }
                return nil
            }, work.toOpaque())
        try #require(result == 0)
    }

    func join() { pthread_join(thread, nil) }
}
