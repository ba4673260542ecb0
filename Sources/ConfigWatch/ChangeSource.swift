/// Where the loop hears of changes: inotify, or a stand-in in tests. Belongs to the loop's thread.
protocol ChangeSource: AnyObject {
    /// Readable when there is something to `drain`.
    var descriptor: Int32 { get }

    /// How many watches there are.
    var watchCount: Int { get }

    /// Watches what is in `wanted` and nothing else.
    ///
    /// - Throws: when watching is no longer possible at all; the source is closed then.
    func arm(_ wanted: [FileIdentity: WatchTarget]) throws(InotifyError) -> Arming

    /// Hands on what has happened since the last call, without waiting.
    func drain(_ body: (Change) -> Void)

    /// Gives back everything. Nothing else is called afterwards.
    func close()
}

/// What is to be watched, and how.
struct WatchTarget: Equatable {
    /// Absolute and without symbolic links when it was resolved.
    let path: String
    let isDirectory: Bool
}

/// What came of `ChangeSource.arm`.
struct Arming: Equatable {
    /// Something was added, or was no longer what it had been resolved to: the way there may have changed meanwhile, look again.
    var needsAnotherLook = false
    /// What was heard on the side, and will not be handed on by `drain`.
    var changes: [Change] = []
    /// All watches were made anew, and what happened meanwhile was not heard.
    var restarted = false
    /// What the kernel would not watch, by path, and its error number.
    var refused: [String: Int32] = [:]
}

/// Something happened.
enum Change: Equatable {
    /// To a watched file, to a watched directory (empty name), or to a name in it.
    /// `isUnfinished`: somebody writes who has not closed the file yet.
    case touched(FileIdentity, name: String, isUnfinished: Bool = false)
    /// The kernel dropped events: anything may have happened.
    case overflow
}
