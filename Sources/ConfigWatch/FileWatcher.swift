import Synchronization

/// Reports when the bytes of files change, in whatever way: written in place, renamed over, deleted and recreated, a directory or a
/// symbolic link on the way replaced, another file mounted over it.
///
/// inotify reports events on every directory and link on the way and on the file itself. After an event, the watcher waits until there is
/// no further one for 100 ms and writers have closed their files (at most 500 ms). It then reports only paths whose bytes have changed.
/// Once a second a `stat` of each file finds what inotify does not see (network file systems, overlays). Without inotify only these
/// checks remain. A file that is missing, unreadable or not regular counts as one special content. Files above 16 MiB are not read: their
/// size, modification time and inode count as their content.
///
/// All watchers of a process share one thread, because libinotifytools exists once per process. Make the first one before sockets
/// take the descriptors below 1024. All methods may be called from any thread, also from the callbacks.
public final class FileWatcher: Sendable {
    /// What was read of a file.
    public enum Reading: Equatable, Sendable {
        case bytes([UInt8])
        /// Missing, not readable, or not a regular file.
        case unreadable
        /// The file was not read, or not all of it. Its content at the time of the call counts as unchanged.
        case unknown
    }

    private let thread: WatchThread
    private let id: Int
    private let isStopped = Atomic(false)
    /// Releases the thread.
    private let leave: @Sendable () -> Void

    /// Starts watching nothing; `watch` names the files.
    ///
    /// - Parameters:
    ///   - onNotice: a notice for the log, on the watcher's thread.
    ///   - onChange: the paths, as they were given to `watch`, whose bytes have changed. Called on the watcher's thread, one call at a
    ///     time: it must pass the work on and return.
    /// - Throws: when there is no thread or no descriptor. A missing inotify is a notice, not an error.
    public convenience init(
        onNotice: @escaping @Sendable (WatchNotice) -> Void = { _ in },
        onChange: @escaping @Sendable (Set<String>) -> Void
    ) throws(WatchError) {
        self.init(
            on: try SharedWatchThread.enter(), leave: { SharedWatchThread.leave() },
            listener: WatchOrder.Listener(onNotice: onNotice, onChange: onChange))
    }

    /// On a thread of the caller, which `leave` releases.
    init(
        on thread: WatchThread, leave: @escaping @Sendable () -> Void, timing: WatchTiming = WatchTiming(), listener: WatchOrder.Listener
    ) {
        self.thread = thread
        self.leave = leave
        id = thread.makeID()
        thread.send(.subscribe(id, listener, timing))
    }

    deinit {
        stop()
    }

    /// Watches these files and no others, and reports at once (after the quiet time) whose bytes are not those given here.
    ///
    /// For callers that have already read the files: a change between that reading and this call is not lost. Pass what was read last,
    /// even if it was not accepted. Anything else is reported again after each call. Relative paths start at the working directory of
    /// this moment.
    public func watch(read files: [String: Reading]) {
        let now = ContinuousClock.now
        let states = files.map { path, reading in
            (path, FileState(reading, from: Self.absolute(path), limit: thread.sizeLimit, at: now))
        }
        thread.send(.watch(id, Dictionary(states) { first, _ in first }))
    }

    /// Stops finally. When it returns, no callback runs and none will run, except when a callback has called it. So the caller must not
    /// hold a lock that a callback takes. The last watcher of the process ends the thread and releases inotify.
    public func stop() {
        guard let gate = unsubscribe() else { return }
        if !thread.isCurrent { gate.wait() }
        leave()
    }

    /// Stops finally, for the end of a program. The thread may be looking at a file that does not answer, as on a network, and the program
    /// must not wait for it. If the time passes first, the thread goes on, and a callback may still run.
    /// - Parameter time: the longest wait.
    public func stop(within time: Duration) {
        guard let gate = unsubscribe() else { return }
        if thread.isCurrent || gate.wait(within: time) { leave() }
    }

    /// - Returns: the gate that opens when no callback runs any more; `nil` if this watcher has been stopped already.
    private func unsubscribe() -> Gate? {
        guard !isStopped.exchange(true, ordering: .acquiringAndReleasing) else { return nil }
        let gate = Gate()
        thread.send(.unsubscribe(id, gate))
        return gate
    }

    private static func absolute(_ path: String) -> String {
        guard path.utf8.first != UInt8(ascii: "/"), let folder = System.workingDirectory() else { return path }
        return folder + "/" + path
    }
}

/// For the log: watching is limited, or works again.
public enum WatchNotice: Sendable, Equatable, CustomStringConvertible {
    /// Changes are noticed only by `stat`, once a second.
    case inotifyUnavailable(reason: String)
    /// inotify works again.
    case inotifyAvailable
    /// The kernel does not watch this path (no permission to read the directory, `fs.inotify.max_user_watches` reached); what it leads
    /// to is still looked at once a second.
    case notWatched(path: String, reason: String)

    /// One line, lower case, without a period.
    public var description: String {
        switch self {
        case .inotifyUnavailable(let reason): "file changes are noticed by polling once a second: \(reason)"
        case .inotifyAvailable: "file changes are noticed through inotify again"
        case .notWatched(let path, let reason): "changes in \(path) are noticed by polling once a second: \(reason)"
        }
    }
}

/// Watching needs a descriptor or a thread, and the system has none.
public struct WatchError: Error, CustomStringConvertible, Sendable {
    private let action: String
    private let code: Int32

    init(doing action: String, code: Int32) {
        self.action = action
        self.code = code
    }

    /// One line, lower case, without a period.
    public var description: String { "cannot watch files: cannot \(action): \(System.text(ofError: code))" }
}

/// How long a watcher waits.
struct WatchTiming: Sendable {
    /// A save has ended when there is no further event for this long.
    var quiet = Duration.milliseconds(100)
    /// The longest time from the first event to the look at the files.
    var quietLimit = Duration.milliseconds(500)
    /// How often files are looked at with `stat`, for what inotify does not see: network file systems, overlays, mounts.
    var tick = Duration.seconds(1)
}

/// The source of events: inotify, or a substitute in tests. Only the loop's thread uses it.
protocol ChangeSource: AnyObject {
    /// Readable when there is something to `drain`.
    var descriptor: Int32 { get }

    /// How many watches there are.
    var watchCount: Int { get }

    /// Watches the files and directories in `wanted` and no others.
    ///
    /// - Throws: when watching is no longer possible at all; the source is closed then.
    func arm(_ wanted: [FileIdentity: WatchTarget]) throws(InotifyError) -> Arming

    /// Passes on the events since the last call, without waiting.
    func drain(_ body: (Change) -> Void)

    /// Releases everything. No other call follows.
    func close()
}

/// A file or directory to watch.
struct WatchTarget: Equatable {
    /// Absolute and without symbolic links when it was resolved.
    let path: String
    let isDirectory: Bool
}

/// The result of `ChangeSource.arm`.
struct Arming: Equatable {
    /// A watch was added, or a path leads elsewhere than when it was resolved. The path may have changed in between: look again.
    var needsAnotherLook = false
    /// Events that `arm` has read, which `drain` does not pass on.
    var changes: [Change] = []
    /// All watches were made again; the events in between are lost.
    var restarted = false
    /// What the kernel refused to watch, by path, with its error number.
    var refused: [String: Int32] = [:]
}

/// An event.
enum Change: Equatable {
    /// To a watched file, to a watched directory (empty name), or to a name in it.
    case touched(FileIdentity, name: String, Writing = .unknown)
    /// The kernel dropped events, so everything may have changed.
    case overflow

    /// What an event says of those who write the file.
    enum Writing {
        /// One has not closed it yet: half a file may look whole.
        case unfinished
        /// It was closed, moved or deleted.
        case finished
        /// The event is of something else, such as a new mode.
        case unknown
    }
}
