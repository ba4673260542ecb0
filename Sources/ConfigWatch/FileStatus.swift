import Glibc

/// Which file a path leads to, whatever it is called.
struct FileIdentity: Hashable, Sendable {
    let device: UInt64
    let inode: UInt64
}

/// What `stat(2)` says about a file: enough to tell cheaply that nothing happened to it.
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

    /// The status of what `path` leads to; nil when it leads nowhere, or cannot be followed.
    init?(following path: String) {
        var buffer = stat()
        guard stat(path, &buffer) == 0 else { return nil }
        self.init(buffer)
    }

    /// The status of `path` itself, when it is a symbolic link that of the link.
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
