import Glibc
import Proxy

/// The system's clocks. The core gets its moments from here.
enum SystemClock {
    /// Both clocks.
    @Sendable static func now() -> Moment {
        Moment(time: time(), instant: Instant(nanoseconds: read(CLOCK_BOOTTIME)))
    }

    /// The wall clock alone.
    @Sendable static func time() -> Timestamp { Timestamp(nanoseconds: read(CLOCK_REALTIME)) }

    /// The clock of the service manager's messages (sd_notify(3)), in nanoseconds.
    static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }

    /// The processor time of the calling thread, in nanoseconds.
    static func threadTime() -> Int { Int(read(CLOCK_THREAD_CPUTIME_ID)) }

    private static func read(_ clock: Int32) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// The system's texts for errors. They begin in lower case, like all errors of the program.
public enum SystemError {
    /// What an `errno` means (strerror_r(3)): `no such file or directory`.
    public static func text(_ number: CInt) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        // Swift imports the XSI variant, which fills the buffer.
        guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
        return buffer.withUnsafeBufferPointer { $0.baseAddress.map { inLowerCase(String(cString: $0)) } ?? "" }
    }

    /// What a result of getaddrinfo(3) means: `name or service not known`.
    static func text(ofLookup result: CInt) -> String {
        result == EAI_SYSTEM ? text(errno) : inLowerCase(String(cString: gai_strerror(result)))
    }

    private static func inLowerCase(_ text: String) -> String { text.prefix(1).lowercased() + text.dropFirst() }
}

/// A path in its two parts. It is divided at a byte, because a slash with a combining mark is not a `Character` "/".
struct FilePath {
    /// `.` without a slash in the path.
    let folder: String
    let name: String

    init(_ path: String) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else {
            folder = "."
            name = path
            return
        }
        folder = slash == path.utf8.startIndex ? "/" : String(path[..<slash])
        name = String(path[path.utf8.index(after: slash)...])
    }

    /// The path without symbolic links, as far as it exists. The file itself need not exist.
    static func withoutLinks(_ path: String) -> String {
        if let resolved = realpath(path, nil) {
            defer { free(resolved) }
            return String(cString: resolved)
        }
        let parts = FilePath(path)
        guard let resolved = realpath(parts.folder, nil) else { return path }
        defer { free(resolved) }
        let folder = String(cString: resolved)
        return folder == "/" ? "/\(parts.name)" : "\(folder)/\(parts.name)"
    }
}

/// Reads the whole of a regular file. Blocks: never call it on an event loop.
/// - Parameter limit: the largest size in bytes that is read.
func readFile(_ path: String, limit: Int) throws(FileReadError) -> FileReading {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw FileReadError(SystemError.text(errno)) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileReadError(SystemError.text(errno)) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw FileReadError("is a directory")
    default: throw FileReadError("is not a regular file")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(min(Int(status.st_size), limit) + 1)
    var block = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let count = read(descriptor, &block, block.count)
        if count < 0 {
            if errno == EINTR { continue }
            throw FileReadError(SystemError.text(errno))
        }
        if count == 0 { return FileReading(bytes: bytes, isReadableByOthers: status.st_mode & S_IROTH != 0) }
        bytes += block[..<count]
        guard bytes.count <= limit else { throw FileReadError("is larger than \(limit) bytes", isTooLarge: true) }
    }
}

/// Users and groups of this machine. Looking one up may read a file or ask a server: it blocks.
enum SystemAccounts {
    /// The number of the user with this name.
    static func user(_ name: String) throws(UnknownSystemAccount) -> uid_t {
        try look("user", name) { buffer, size in
            var entry = passwd()
            var result: UnsafeMutablePointer<passwd>?
            let error = getpwnam_r(name, &entry, buffer, size, &result)
            return (error, result == nil ? nil : entry.pw_uid)
        }
    }

    /// The number of the group with this name.
    static func group(_ name: String) throws(UnknownSystemAccount) -> gid_t {
        try look("group", name) { buffer, size in
            var entry = Glibc.group()
            var result: UnsafeMutablePointer<Glibc.group>?
            let error = getgrnam_r(name, &entry, buffer, size, &result)
            return (error, result == nil ? nil : entry.gr_gid)
        }
    }

    /// A group may have many members: the buffer grows until they fit, within reason.
    private static func look(
        _ kind: String, _ name: String, _ body: (UnsafeMutablePointer<CChar>, Int) -> (error: CInt, id: UInt32?)
    ) throws(UnknownSystemAccount) -> UInt32 {
        var size = 4096
        while true {
            let (error, id) = withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
                buffer.baseAddress.map { body($0, buffer.count) } ?? (ENOMEM, nil)
            }
            if let id { return id }
            guard error == ERANGE, size < 1 << 20 else { throw UnknownSystemAccount(kind, name, error) }
            size *= 4
        }
    }
}

/// Why a user or group could not be found.
struct UnknownSystemAccount: Error, CustomStringConvertible {
    let description: String

    /// A missing name is reported as 0 or as one of several errors (getpwnam_r(3)).
    fileprivate init(_ kind: String, _ name: String, _ error: CInt) {
        switch error {
        case 0, ENOENT, ESRCH, EBADF, EPERM: description = "unknown \(kind) \(name)"
        default: description = "cannot look up the \(kind) \(name): \(SystemError.text(error))"
        }
    }
}

extension Owners {
    /// The owners of a configuration. Blocks.
    /// - Throws: every account that the system does not know, at its position.
    init(_ loaded: LoadedConfig) throws(ConfigProblems) {
        do throws(UnknownAccounts) {
            self = try Owners(loaded.config.receiver.owners, user: SystemAccounts.user, group: SystemAccounts.group)
        } catch {
            throw ConfigProblems(
                error.accounts.map { account in
                    let key = "receiver.owners[\(account.rule)].\(account.isGroup ? "groups" : "users")[\(account.index)]"
                    return loaded.origin.problem(key, "\(key): \(account.reason)")
                })
        }
    }
}

/// Identifies a file, whatever its name.
struct FileIdentity: Equatable, Sendable {
    let device: UInt64
    let inode: UInt64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
    }
}
