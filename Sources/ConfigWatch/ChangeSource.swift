/// Where events come from: inotify, or a stand-in in tests. Belongs to the loop's thread.
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

    /// Gives back everything. Nothing else is called afterwards.
    func close()
}

/// A file or directory to watch.
struct WatchTarget: Equatable {
    /// Absolute and without symbolic links when it was resolved.
    let path: String
    let isDirectory: Bool
}

/// What came of `ChangeSource.arm`.
struct Arming: Equatable {
    /// Something was added, or was no longer what it had been resolved to: the way there may have changed meanwhile, look again.
    var needsAnotherLook = false
    /// Events that were read meanwhile, which `drain` will not pass on.
    var changes: [Change] = []
    /// All watches were made anew; events in the meantime are lost.
    var restarted = false
    /// What the kernel refused to watch, by path, with its error number.
    var refused: [String: Int32] = [:]
}

/// An event.
enum Change: Equatable {
    /// To a watched file, to a watched directory (empty name), or to a name in it.
    /// `isUnfinished`: a writer has not closed the file yet.
    case touched(FileIdentity, name: String, isUnfinished: Bool = false)
    /// The kernel dropped events: anything may have happened.
    case overflow
}
