import CSignals
import ConfigWatch
import Glibc
public import Logging
import Proxy

/// Runs the daemon in the foreground until SIGTERM or SIGINT, then stops it gracefully.
/// - Parameter configFile: as it was named; relative paths in it are relative to its folder.
/// - Throws: `ConfigProblems` when it cannot start.
public func serve(configFile: String, logger: Logger) async throws {
    MemoryReturn.configureHeaps()
    // Before anything else opens a descriptor.
    let inherited = InheritedSockets.take()
    for warning in inherited.warnings { logger.warning("\(warning)") }
    let notifier = try ServiceNotifier.take(logger: logger)
    // Writing to a closed connection must fail with an error, not end the process.
    signal(SIGPIPE, SIG_IGN)
    // Ignored until the handler is installed. The watcher finds changes from before that.
    signal(SIGHUP, SIG_IGN)
    let changes = ConfigChanges(logger: logger)
    defer { changes.stop() }
    let loader = ConfigLoader(file: configFile)
    let reading = loader.read()
    let loaded = try reading.result.get()
    // After the watcher, whose descriptor must be below 1024.
    if OpenFileLimit.raise() == nil { logger.warning("cannot raise the limit of open files") }
    let daemon = Daemon(loaded, inherited: inherited, logger: logger)
    let reloader = Reloader(
        ReloadableDaemon(daemon: daemon, loader: loader, changes: changes, notifier: notifier), metrics: daemon.metrics.reloads,
        logger: logger)
    daemon.lifecycle.setReloader(reloader)
    let (stream, continuation) = AsyncStream.makeStream(of: Event.self)
    let signals = try Signals(Signals.handled) { continuation.yield(.signal($0)) }
    logger.info("starting", metadata: [LogKey.version: "\(ProgramVersion.current)", LogKey.file: "\(loaded.origin.file)"])
    let start = await start(daemon, stream, continuation, notifier: notifier, logger: logger)
    if case .started(let isReloadDue) = start {
        await notifier.ready(daemon.status)
        let reports = Task {
            await notifier.reportUntilCancelled(on: daemon.group) {
                await daemon.eventLoopsAnswer()
            } status: {
                await daemon.status
            }
        }
        // Reports changes since the files were read.
        changes.watch(reading.files)
        // A stop does not wait for a reload: each has a task of its own.
        let watching = Task {
            for await paths in changes.changes { Task { await reloader.reload(because: .change(of: paths)) } }
        }
        if isReloadDue { Task { await reloader.reload(because: .signal) } }
        for await event in stream {
            guard case .signal(SIGHUP) = event else { break }
            Task { await reloader.reload(because: .signal) }
        }
        watching.cancel()
        logger.info("stopping")
        notifier.stopping()
        await reloader.stop()
        await daemon.stop()
        reports.cancel()
        await reports.value
    }
    await notifier.stop()
    await signals.stop()
    if case .failed(let problems) = start { throw problems }
    logger.info("stopped")
}

/// What `serve` waits for.
private enum Event: Sendable {
    case started(Result<Void, ConfigProblems>)
    case signal(CInt)
    /// A start that was cancelled has not ended within a second.
    case startIsLate
}

/// How a start ends.
private enum Start {
    /// - Parameter isReloadDue: whether SIGHUP has come meanwhile.
    case started(isReloadDue: Bool)
    case failed(ConfigProblems)
    /// By SIGTERM or SIGINT.
    case stopped
}

/// Starts the daemon, and handles the signals that come meanwhile.
private func start(
    _ daemon: Daemon, _ events: AsyncStream<Event>, _ continuation: AsyncStream<Event>.Continuation, notifier: ServiceNotifier,
    logger: Logger
) async -> Start {
    let starting = Task {
        do throws(ConfigProblems) {
            try await daemon.start()
            continuation.yield(.started(.success(())))
        } catch {
            continuation.yield(.started(.failure(error)))
        }
    }
    var (isReloadDue, isStopping) = (false, false)
    for await event in events {
        switch event {
        case .started(.success) where isStopping:
            await daemon.stop()
            return .stopped
        case .started(.success): return .started(isReloadDue: isReloadDue)
        case .started(.failure(let problems)): return isStopping ? .stopped : .failed(problems)
        case .startIsLate: return .stopped
        case .signal(SIGHUP): isReloadDue = true
        case .signal where isStopping: break
        case .signal:
            isStopping = true
            logger.info("stopping")
            notifier.stopping()
            starting.cancel()
            // The state file is read no further. Something else, such as the look-up of an account, may not answer.
            Task {
                try? await daemon.group.sleep(for: .seconds(1))
                continuation.yield(.startIsLate)
            }
        }
    }
    return .stopped
}

/// Reads with the loader, on a thread of the daemon, and applies the configuration to the daemon.
private struct ReloadableDaemon: Reloadable {
    let daemon: Daemon
    let loader: ConfigLoader
    let changes: ConfigChanges
    let notifier: ServiceNotifier

    func begins() { notifier.reloading() }

    func ended() async { await notifier.ready(daemon.status) }

    func read() async -> ConfigReading {
        do {
            return try await daemon.runBlocking { loader.read(isReload: true) }
        } catch {
            // The threads have ended: the daemon has stopped.
            return ConfigReading(result: .failure(Daemon.stopping(loader.file)), files: [:])
        }
    }

    func prepare(_ loaded: LoadedConfig) async throws(ConfigProblems) -> PreparedConfig { try await daemon.prepare(loaded) }

    func apply(_ prepared: PreparedConfig) async throws(ConfigProblems) -> ReloadPlan { try await daemon.reload(to: prepared) }

    func watch(_ files: [String: FileWatcher.Reading]) { changes.watch(files) }
}

/// Changes of the watched files, in order, for the reloader.
struct ConfigChanges: Sendable {
    /// Sets of changed paths. A newer set replaces one that was not taken yet: each reload reads all files.
    let changes: AsyncStream<Set<String>>
    /// `nil` if the system has no thread or descriptor for it.
    private let watcher: FileWatcher?

    /// Call it before sockets take the descriptors below 1024: libinotifytools needs one of them.
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

    /// No more changes are wanted. Blocks for a moment, and at most a second: a watched file may not answer.
    func stop() { watcher?.stop(within: .seconds(1)) }
}

/// Signals that the process handles instead of ending or ignoring them, in the order in which they come. One instance per process.
///
/// A handler writes each number into a pipe, and a thread of its own reads it.
public struct Signals: Sendable {
    /// Those that the program handles.
    static let handled = [SIGTERM, SIGINT, SIGHUP]

    private let thread = ThreadPool("signals")

    /// - Parameter received: called for each one, on a thread of its own.
    /// - Throws: when the system grants no descriptor or thread for it.
    init(_ numbers: [CInt], received: @escaping @Sendable (CInt) -> Void) throws(SignalError) {
        let descriptor = csignals_trap(numbers, CInt(numbers.count))
        guard descriptor >= 0 else { throw SignalError(reason: SystemError.text(errno)) }
        do throws(ThreadError) { try thread.start() } catch { throw SignalError(reason: error.description) }
        thread.submit { _ in
            var number: UInt8 = 0
            while true {
                let count = read(descriptor, &number, 1)
                if count < 0, errno == EINTR { continue }
                guard count == 1, number != 0 else { break }
                received(CInt(number))
            }
        }
    }

    /// Lets the signals arrive that the parent has blocked. Call it first, because threads inherit what is blocked.
    public static func unblock() { csignals_unblock(handled, CInt(handled.count)) }

    /// Ends the thread. Signals still have no effect of their own.
    func stop() async {
        csignals_end()
        await thread.end()
    }
}

/// Why signals cannot be handled.
struct SignalError: Error, CustomStringConvertible {
    let reason: String

    var description: String { "cannot handle signals: \(reason)" }
}
