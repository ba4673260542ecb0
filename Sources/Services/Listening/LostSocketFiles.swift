import Logging
import NIOCore
import Proxy
import Synchronization

/// Makes the files of Unix sockets again that other programs have removed: without its file, no client finds a socket.
final class LostSocketFiles: Sendable {
    private struct State {
        /// Whether a thread looks for the files. Where their folder does not answer, one waits, not one for each period.
        var isLooking = false
        var isRestoring = false
        /// Sockets whose files could not be made again, by listener: reported once.
        var reported: Set<String> = []
    }

    /// How often the files are looked for.
    private static let period = TimeAmount.seconds(2)

    private let blockingWork: ThreadPool
    private let logger: Logger
    /// Guards what has been reported, and that only one task restores files.
    private let state = Mutex(State())

    /// - Parameter blockingWork: runs system calls on the files.
    init(blockingWork: ThreadPool, logger: Logger) {
        self.blockingWork = blockingWork
        self.logger = logger
    }

    /// Looks for the files from now on, until the event loop ends.
    /// - Parameter listeners: those that run now.
    func watch(on eventLoop: any EventLoop, _ listeners: @escaping @Sendable () -> [Listener]) {
        eventLoop.repeats(every: Self.period) { [self] in
            guard listeners().contains(where: { $0.socketFile != nil }) else { return }
            let isFirst = state.withLock { state in
                defer { state.isLooking = true }
                return !state.isLooking
            }
            guard isFirst else { return }
            blockingWork.submit { [self] isActive in
                guard isActive else { return }
                let isGone = listeners().contains { $0.socketFile?.isGone == true }
                state.withLock { $0.isLooking = false }
                if isGone { Task { await restore(listeners()) } }
            }
        }
    }

    /// Makes the files that have vanished again.
    func restore(_ listeners: [Listener]) async {
        let listeners = listeners.filter { $0.socketFile != nil }
        guard !listeners.isEmpty else { return }
        let isFirst = state.withLock { state in
            defer { state.isRestoring = true }
            return !state.isRestoring
        }
        guard isFirst else { return }
        defer { state.withLock { $0.isRestoring = false } }
        for listener in listeners {
            let metadata: Logger.Metadata = [LogKey.listener: "\(listener.name)"]
            do {
                let bound = try await blockingWork.run { Result { try listener.bindLostFile() } }
                guard let pending = try bound.get() else { continue }
                try await listener.replaceSocket(by: pending)
                state.withLock { _ = $0.reported.remove(listener.name) }
                logger.warning("the socket's file had vanished and was made again", metadata: metadata)
            } catch {
                guard state.withLock({ $0.reported.insert(listener.name).inserted }) else { continue }
                logger.error(
                    "the socket's file has vanished and cannot be made again",
                    metadata: metadata.merging([LogKey.error: "\(error)"]) { $1 })
            }
        }
    }
}
