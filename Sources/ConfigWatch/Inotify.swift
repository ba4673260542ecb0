import CInotify
import Glibc
import Synchronization

/// The process's one inotify instance, through libinotifytools.
///
/// The library keeps its state in static variables without a lock. `claimed` allows one owner, and the owner stays on one thread.
/// Make it before sockets take the low descriptors: see `InotifyError.descriptorTooHigh`.
final class Inotify: ChangeSource {
    private(set) var descriptor: Int32
    private var watches: [FileIdentity: Int32] = [:]
    private var identities: [Int32: FileIdentity] = [:]
    /// Entries of the library whose watch the kernel has dropped. The library can only free them all at once (`restart`).
    private(set) var deadEntries = 0
    /// After an overflow a dropped watch may have gone unnoticed.
    private var isSuspect = false
    /// Makes each name for the library unique, see `add`.
    private var generation: UInt = 0
    private let deadEntriesLimit: Int

    /// Whether the library has an owner.
    private static let claimed = Mutex(false)

    private static let directoryEvents =
        IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB
    private static let fileEvents = IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF
    private static let finishingEvents =
        IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF

    /// The limit of events in one `drain`, so that a flood cannot keep the thread from its other work.
    private static let drainLimit = 65_536

    /// - Parameter deadEntriesLimit: how many dead entries (some 200 bytes each) the library may keep.
    init(deadEntriesLimit: Int = 128) throws(InotifyError) {
        let isMine = Self.claimed.withLock { claimed in
            defer { claimed = true }
            return !claimed
        }
        guard isMine else { throw .inUse }
        self.deadEntriesLimit = deadEntriesLimit
        do {
            descriptor = try Self.start()
        } catch {
            Self.claimed.withLock { $0 = false }
            throw error
        }
    }

    var watchCount: Int { watches.count }

    func close() {
        inotifytools_cleanup()
        descriptor = -1
        watches = [:]
        identities = [:]
        Self.claimed.withLock { $0 = false }
    }

    func arm(_ wanted: [FileIdentity: WatchTarget]) throws(InotifyError) -> Arming {
        var arming = Arming()
        if isSuspect || deadEntries >= deadEntriesLimit {
            try restart()
            arming.restarted = true
        }
        for identity in Array(watches.keys) where wanted[identity] == nil {
            remove(identity, &arming)
        }
        for (identity, target) in wanted where watches[identity] == nil {
            add(identity, target, &arming)
        }
        return arming
    }

    func drain(_ body: (Change) -> Void) {
        for _ in 0..<Self.drainLimit {
            // (0, 1) is the library's only call that does not block: (0) would wait without end.
            guard let event = inotifytools_next_events(0, 1) else { return }
            handle(event, body)
        }
    }

    private func handle(_ event: UnsafePointer<inotify_event>, _ body: (Change) -> Void) {
        let mask = event.pointee.mask
        if mask & UInt32(IN_Q_OVERFLOW) != 0 {
            isSuspect = true
            body(.overflow)
            return
        }
        // Use the event's own number, because the library's table may still have an old watch of the path. An unknown number is that of a
        // watch that was removed before this event was read.
        guard let identity = identities[event.pointee.wd] else { return }
        if mask & UInt32(IN_IGNORED) != 0 {
            identities[event.pointee.wd] = nil
            watches[identity] = nil
            deadEntries += 1
        }
        body(.touched(identity, name: cinotify_event_name(event).map { String(cString: $0) } ?? "", Self.writing(mask)))
    }

    private static func writing(_ mask: UInt32) -> Change.Writing {
        // Both are followed by IN_CLOSE_WRITE once the writer is done, except for a link, which is never closed.
        if mask & UInt32(IN_MODIFY | IN_CREATE) != 0 { return .unfinished }
        return mask & UInt32(finishingEvents) != 0 ? .finished : .unknown
    }

    private func add(_ identity: FileIdentity, _ target: WatchTarget, _ arming: inout Arming) {
        // Watch exactly this inode, and never make a second entry for a known one: the library would leak it.
        let flags = IN_DONT_FOLLOW | IN_MASK_CREATE | (target.isDirectory ? IN_ONLYDIR : 0)
        let name = uniqueName(for: target)
        guard inotifytools_watch_file(name, flags | (target.isDirectory ? Self.directoryEvents : Self.fileEvents)) == 1 else {
            let code = inotifytools_error()
            if code == ENOENT || code == ENOTDIR {
                arming.needsAnotherLook = true
            } else {
                arming.refused[target.path] = code
            }
            return
        }
        arming.needsAnotherLook = true
        var watch = inotifytools_wd_from_filename(name)
        // A file that turned into a directory just now is listed with a slash.
        if watch <= 0 { watch = inotifytools_wd_from_filename(name + "/") }
        guard watch > 0 else { return }
        watches[identity] = watch
        identities[watch] = identity
        // The path was replaced after it was resolved: this is a watch on another file.
        if FileStatus(of: target.path)?.identity != identity {
            remove(identity, &arming)
        }
    }

    private func remove(_ identity: FileIdentity, _ arming: inout Arming) {
        // The library writes to standard error when it removes a watch that the kernel has dropped: read those events first.
        drain { arming.changes.append($0) }
        guard !isSuspect else {
            // It is unknown which watches are left: the next call starts again.
            arming.needsAnotherLook = true
            return
        }
        guard let watch = watches.removeValue(forKey: identity) else { return }
        identities[watch] = nil
        if inotifytools_remove_watch_by_wd(watch) != 1 {
            deadEntries += 1
        }
    }

    /// The path in a spelling that the library has not seen before.
    ///
    /// The library finds a watch's number only by its name, and could find a dead entry of the same name. So each name starts with its own
    /// pattern of `./` (one) and `/` (zero), which have no meaning for the kernel.
    private func uniqueName(for target: WatchTarget) -> String {
        generation += 1
        var name = "/"
        var rest = generation
        while rest > 0 {
            name += rest & 1 == 1 ? "./" : "/"
            rest >>= 1
        }
        name += target.path.dropFirst()
        // The library lists directories with a slash at the end, whether given or not.
        return target.isDirectory && name.utf8.last != UInt8(ascii: "/") ? name + "/" : name
    }

    /// Starts again with an empty instance, the only way to free the library's dead entries.
    private func restart() throws(InotifyError) {
        // The library keeps unread events, even across its own clean-up.
        while inotifytools_next_events(0, 1) != nil {}
        inotifytools_cleanup()
        watches = [:]
        identities = [:]
        deadEntries = 0
        isSuspect = false
        do {
            descriptor = try Self.start()
        } catch {
            descriptor = -1
            Self.claimed.withLock { $0 = false }
            throw error
        }
    }

    /// Initialises the library and finds its descriptor, for which it has no accessor.
    private static func start() throws(InotifyError) -> Int32 {
        // Another thread may make an inotify instance at this moment. There are then two new ones, so try again.
        for _ in 0..<8 {
            let before = inotifyDescriptors()
            guard inotifytools_initialize() == 1 else { throw .notAvailable(inotifytools_error()) }
            let new = inotifyDescriptors().subtracting(before)
            if new.count == 1, let descriptor = new.first {
                guard descriptor < FD_SETSIZE else {
                    inotifytools_cleanup()
                    throw .descriptorTooHigh(descriptor)
                }
                // Children must not inherit it; the library cannot be told to ask for that.
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                return descriptor
            }
            inotifytools_cleanup()
        }
        throw .descriptorNotFound
    }

    /// This process's descriptors that are inotify instances.
    private static func inotifyDescriptors() -> Set<Int32> {
        let folder = "/proc/self/fd"
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var found: Set<Int32> = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let descriptor = Int32(name), System.target(ofLink: "\(folder)/\(name)") == "anon_inode:inotify" {
                found.insert(descriptor)
            }
        }
        return found
    }
}

/// Why changes cannot be noticed through inotify.
enum InotifyError: Error, Equatable, CustomStringConvertible {
    /// The kernel gave no inotify instance; its error number.
    case notAvailable(Int32)
    /// libinotifytools exists once per process, and another owner has it.
    case inUse
    /// Its descriptor was not found in /proc/self/fd (is /proc mounted?).
    case descriptorNotFound
    /// libinotifytools waits with select(2), which aborts from descriptor 1024 on.
    case descriptorTooHigh(Int32)

    var description: String {
        switch self {
        case .notAvailable(EMFILE):
            "no inotify instance: too many in use or too many open files; raise fs.inotify.max_user_instances or the open files limit"
        case .notAvailable(let code): "no inotify instance: \(System.text(ofError: code))"
        case .inUse: "libinotifytools is in use elsewhere in this process"
        case .descriptorNotFound: "the inotify descriptor is not in /proc/self/fd; is /proc mounted?"
        case .descriptorTooHigh(let descriptor): "inotify descriptor \(descriptor) is above the 1023 that libinotifytools can wait for"
        }
    }
}
