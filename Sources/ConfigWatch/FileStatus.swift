import Glibc

/// Identifies a file, whatever its name.
struct FileIdentity: Hashable, Sendable {
    let device: UInt64
    let inode: UInt64
}

/// The result of `stat(2)` for a file: a cheap way to see that it did not change.
struct FileStatus: Equatable, Sendable {
    let identity: FileIdentity
    let size: Int64
    let modified: Moment
    let changed: Moment
    let kind: Kind

    struct Moment: Equatable, Sendable {
        let seconds: Int
        let nanoseconds: Int
    }

    enum Kind: Sendable {
        case file, directory, link, other
    }

    /// The status of the file that `path` leads to; `nil` when there is none, or the path cannot be followed.
    init?(following path: String) {
        var buffer = stat()
        guard stat(path, &buffer) == 0 else { return nil }
        self.init(buffer)
    }

    /// The status of `path` itself; for a symbolic link that of the link.
    init?(of path: String) {
        var buffer = stat()
        guard lstat(path, &buffer) == 0 else { return nil }
        self.init(buffer)
    }

    /// The status of an open file.
    init?(descriptor: Int32) {
        var buffer = stat()
        guard fstat(descriptor, &buffer) == 0 else { return nil }
        self.init(buffer)
    }

    private init(_ buffer: stat) {
        identity = FileIdentity(device: UInt64(buffer.st_dev), inode: UInt64(buffer.st_ino))
        size = Int64(buffer.st_size)
        modified = Moment(seconds: buffer.st_mtim.tv_sec, nanoseconds: buffer.st_mtim.tv_nsec)
        changed = Moment(seconds: buffer.st_ctim.tv_sec, nanoseconds: buffer.st_ctim.tv_nsec)
        kind =
            switch buffer.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            case S_IFLNK: .link
            default: .other
            }
    }
}

/// Texts that the system gives.
enum System {
    /// What an error number means.
    static func text(ofError code: Int32) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            buffer.initialize(repeating: 0)
            guard let start = buffer.baseAddress, strerror_r(code, start, buffer.count) == 0 else { return "error \(code)" }
            return String(cString: start)
        }
    }

    /// Where a symbolic link leads; `nil` when the path is not one.
    static func target(ofLink path: String) -> String? {
        withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { buffer in
            guard let start = buffer.assumingMemoryBound(to: CChar.self).baseAddress else { return nil }
            let count = readlink(path, start, buffer.count)
            guard count > 0 else { return nil }
            return String(decoding: buffer[..<count], as: UTF8.self)
        }
    }

    /// Where relative paths start; `nil` when that folder is gone.
    static func workingDirectory() -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let start = buffer.baseAddress, getcwd(start, buffer.count) != nil else { return nil }
            return String(cString: start)
        }
    }
}
