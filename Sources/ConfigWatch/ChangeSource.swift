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
    /// `isUnfinished`: a writer has not closed the file yet.
    case touched(FileIdentity, name: String, isUnfinished: Bool = false)
    /// The kernel dropped events, so everything may have changed.
    case overflow
}
