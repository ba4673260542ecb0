/// What is known of one watched file, and how to find out whether that still holds.
struct FileState: Sendable {
    /// Where the file is, absolute.
    let location: String
    private var status: FileStatus?
    /// nil: could not be found out yet, so the first look is not a change.
    private var contents: FileContents?
    /// Until then the bytes are compared even if `stat` shows nothing: two writes within one tick of the file system's clock
    /// (up to 2 s on FAT, 1 s on old NFS servers) leave the same status. Measured from when we first saw it, so no clock is compared.
    private var settlesAt: ContinuousClock.Instant?

    /// How long a status may hide a second write.
    static let settlingTime = Duration.seconds(2)

    /// The file as it is on disk now.
    init(onDisk location: String, limit: Int, at now: ContinuousClock.Instant) {
        self.location = location
        status = FileStatus(following: location)
        contents = FileContents(of: location, limit: limit)
        settlesAt = now + Self.settlingTime
    }

    /// The file as somebody read it before.
    init(_ reading: FileWatcher.Reading, from location: String, limit: Int, at now: ContinuousClock.Instant) {
        self.location = location
        status = nil
        contents =
            switch reading {
            // What is too large to be compared byte by byte is taken as it is now.
            case .bytes(let bytes): bytes.count > limit ? nil : FileContents(of: bytes)
            case .unreadable: .unreadable
            case .unknown: nil
            }
        settlesAt = now + Self.settlingTime
    }

    /// Whether a look at the bytes is due; costs one `stat`.
    func needsLook() -> Bool {
        settlesAt != nil || FileStatus(following: location) != status
    }

    /// Looks, and says whether the bytes are others than before.
    mutating func look(limit: Int, at now: ContinuousClock.Instant) -> Bool {
        let found = FileStatus(following: location)
        guard settlesAt != nil || found != status else { return false }
        guard let read = FileContents(of: location, limit: limit) else {
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
