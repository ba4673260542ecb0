import ConfigWatch
import Logging

/// Changes of the watched files, one after another, for whoever reloads.
struct ConfigChanges: Sendable {
    /// Changed paths; several changes that nobody has taken yet become one, the last.
    let changes: AsyncStream<Set<String>>
    /// `nil` when there is no thread or descriptor to be had.
    private let watcher: FileWatcher?

    /// To be made before sockets take the descriptors below 1024, which libinotifytools needs one of.
    init(logger: Logger) {
        let (stream, continuation) = AsyncStream.makeStream(of: Set<String>.self, bufferingPolicy: .bufferingNewest(1))
        changes = stream
        do throws(WatchError) {
            watcher = try FileWatcher {
                logger.notice("\($0)")
            } onChange: {
                continuation.yield($0)
            }
        } catch {
            logger.error(
                "changes of the configuration are not noticed: reload with SIGHUP", metadata: [LogKey.error: "\(error)"])
            watcher = nil
        }
    }

    /// Watches these files from now on, and no others.
    func watch(_ files: [String: FileWatcher.Reading]) { watcher?.watch(read: files) }

    /// No more changes come. Blocks for a moment.
    func stop() { watcher?.stop() }
}
