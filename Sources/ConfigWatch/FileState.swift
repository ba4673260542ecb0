import Glibc

/// What is known about one watched file. Finds out whether its bytes have changed.
struct FileState: Sendable {
    /// Where the file is, absolute.
    let location: String
    private var status: FileStatus?
    /// `nil`: not known yet, so the first look is not a change.
    private var contents: FileFingerprint?
    /// Until then the bytes are compared even if `stat` shows nothing: two writes within one tick of the file system's clock
    /// (up to 2 s on FAT, 1 s on old NFS servers) leave the same status. Measured from when we first saw it, so no clock is compared.
    private var settlesAt: ContinuousClock.Instant?

    /// How long a status may hide a second write.
    static let settlingTime = Duration.seconds(2)

    /// The file as it is on disk now.
    init(onDisk location: String, limit: Int, at now: ContinuousClock.Instant) {
        self.location = location
        status = FileStatus(following: location)
        contents = FileFingerprint(of: location, limit: limit)
        settlesAt = now + Self.settlingTime
    }

    /// The file as it was read before.
    init(_ reading: FileWatcher.Reading, from location: String, limit: Int, at now: ContinuousClock.Instant) {
        self.location = location
        status = nil
        contents =
            switch reading {
            // The bytes of a file that is too large are not compared: its present state counts.
            case .bytes(let bytes): bytes.count > limit ? nil : FileFingerprint(of: bytes)
            case .unreadable: .unreadable
            case .unknown: nil
            }
        settlesAt = now + Self.settlingTime
    }

    /// Whether the bytes must be read; costs one `stat`.
    func needsLook() -> Bool {
        settlesAt != nil || FileStatus(following: location) != status
    }

    /// Reads the file. Returns whether the bytes differ from those before.
    mutating func look(limit: Int, at now: ContinuousClock.Instant) -> Bool {
        let found = FileStatus(following: location)
        guard settlesAt != nil || found != status else { return false }
        guard let read = FileFingerprint(of: location, limit: limit) else {
            settlesAt = now + Self.settlingTime
            return false
        }
        if found != status {
            status = found
            settlesAt = now + Self.settlingTime
        } else if let settled = settlesAt, now >= settled {
            settlesAt = nil
        }
        defer { contents = read }
        return contents.map { $0 != read } ?? false
    }
}

/// Identifies the contents of a file without keeping the bytes, which may be a private key.
enum FileFingerprint: Equatable, Sendable {
    /// A hash under this process's random key, and the number of bytes.
    case bytes(digest: Int, count: Int)
    /// Above the limit nothing is read: another file, size or modification time counts as another content.
    case large(FileIdentity, size: Int64, modified: FileStatus.Moment)
    /// Missing, not readable, or not a regular file.
    case unreadable

    /// The fingerprint of a file with these bytes.
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
    /// `nil` when reading failed now for a reason that is not in the file (no free descriptor, no memory): ask again later.
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
            // Counted while reading, because files in /proc have size 0, and other files may grow.
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

    /// Whether an error is a temporary one of the process or the system, and says nothing about the file.
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

        var contents: FileFingerprint { .bytes(digest: hasher.finalize(), count: count) }
    }
}
