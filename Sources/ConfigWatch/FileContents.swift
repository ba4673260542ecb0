import Glibc

/// What is in a file, remembered without the bytes (they may be a private key).
enum FileContents: Equatable, Sendable {
    /// A hash under this process's random key, and the number of bytes.
    case bytes(digest: Int, count: Int)
    /// Above the limit nothing is read: another file, size or modification time counts as another content.
    case large(FileIdentity, size: Int64, modified: FileStatus.Moment)
    /// Missing, not readable, or not a regular file: there is nothing to be had from it.
    case unreadable

    /// Bytes somebody holds in memory, as they would be remembered had they been read from a file.
    init(of bytes: some Sequence<UInt8>) {
        var digest = Digest()
        let done: Void? = bytes.withContiguousStorageIfAvailable { digest.add(UnsafeRawBufferPointer($0)) }
        if done == nil {
            Array(bytes).withUnsafeBytes { digest.add($0) }
        }
        self = digest.contents
    }

    /// Reads the file that `path` leads to, at most `limit` bytes of it.
    ///
    /// nil when this could not be found out now through no property of the file (no free descriptor, no memory): ask again later.
    init?(of path: String, limit: Int) {
        // A device may act on being opened, and a FIFO would wait for a writer: only files are opened.
        guard let status = FileStatus(following: path), status.kind == .file else {
            self = .unreadable
            return
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            if Self.isPassing(errno) { return nil }
            self = .unreadable
            return
        }
        defer { close(descriptor) }
        guard let status = FileStatus(descriptor: descriptor), status.kind == .file else {
            self = .unreadable
            return
        }
        let large = Self.large(status.identity, size: status.size, modified: status.modified)
        guard status.size <= limit else {
            self = large
            return
        }
        var digest = Digest()
        switch Self.read(descriptor, into: &digest, limit: limit) {
        case .whole: self = digest.contents
        case .tooLarge: self = large
        case .failed(let code):
            if Self.isPassing(code) { return nil }
            self = .unreadable
        }
    }

    private enum ReadResult {
        case whole, tooLarge, failed(Int32)
    }

    private static func read(_ descriptor: Int32, into digest: inout Digest, limit: Int) -> ReadResult {
        withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { buffer in
            // Counted while reading: files in /proc say that they are empty, and others grow meanwhile.
            while digest.count <= limit {
                let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if count < 0 && errno == EINTR { continue }
                guard count >= 0 else { return .failed(errno) }
                guard count > 0 else { return .whole }
                digest.add(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            return .tooLarge
        }
    }

    /// Whether an error is this process's or the moment's, not the file's.
    private static func isPassing(_ code: Int32) -> Bool {
        [EMFILE, ENFILE, ENOMEM, EINTR, ESTALE].contains(code)
    }

    private struct Digest {
        private var hasher = Hasher()
        private(set) var count = 0

        mutating func add(_ bytes: UnsafeRawBufferPointer) {
            hasher.combine(bytes: bytes)
            count += bytes.count
        }

        var contents: FileContents { .bytes(digest: hasher.finalize(), count: count) }
    }
}
