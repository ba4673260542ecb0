import ConfigWatch
import Glibc
public import Logging
import Proxy
import ServiceLifecycle
import UnixSignals

/// Runs the daemon in the foreground until SIGTERM or SIGINT, then stops it gracefully.
/// - Parameter configFile: as it was named; relative paths in it are relative to its folder.
/// - Throws: `ConfigProblems` when it cannot start.
public func serve(configFile: String, logger: Logger) async throws {
    MemoryReturn.configureHeaps()
    // A peer that is gone must be an error of one write, not the end of the process.
    signal(SIGPIPE, SIG_IGN)
    // Until somebody listens for it; what has changed by then is noticed anyway.
    signal(SIGHUP, SIG_IGN)
    let changes = ConfigChanges(logger: logger)
    defer { changes.stop() }
    let loader = ConfigLoader(file: configFile)
    let reading = loader.read()
    let loaded = try reading.result.get()
    // After the watcher, whose descriptor must be a small one.
    if OpenFileLimit.raise() == nil { logger.warning("cannot raise the limit of open files") }
    let daemon = Daemon(loaded, logger: logger)
    let reloader = Reloader(loader: loader, daemon: daemon, changes: changes, logger: logger)
    daemon.lifecycle.onReload { await reloader.reload(because: .request) }
    let server = Server(daemon: daemon, reloader: reloader, changes: changes, firstRead: reading.files, logger: logger)
    let group = ServiceGroup(services: [server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    try await group.run()
}

/// The daemon and what makes it reload, from the start to the signal to stop.
private struct Server: Service, CustomStringConvertible {
    let daemon: Daemon
    let reloader: Reloader
    let changes: ConfigChanges
    /// What the daemon starts with.
    let firstRead: [String: FileWatcher.Reading]
    let logger: Logger

    /// The service group logs it at `debug`: by default every property in full, the contents of key and password files too.
    var description: String { "exporter-proxy" }

    func run() async throws {
        let file = await daemon.loaded.origin.file
        logger.info("starting", metadata: [LogKey.version: "\(ProgramVersion.current)", LogKey.file: "\(file)"])
        try await daemon.start()
        // What has changed since it was read is noticed now.
        changes.watch(firstRead)
        await reloadUntilStop()
        logger.info("stopping")
        await reloader.stop()
        await daemon.stop()
        logger.info("stopped")
    }

    /// Nobody waits for a reload here: a stop must not have to.
    private func reloadUntilStop() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await paths in changes.changes.cancelOnGracefulShutdown() {
                    Task { await reloader.reload(because: .change(of: paths)) }
                }
            }
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
                    Task { await reloader.reload(because: .signal) }
                }
            }
        }
    }
}

extension Reloader {
    /// Reads with the loader, off the event loops, and runs what it reads on the daemon.
    init(loader: ConfigLoader, daemon: Daemon, changes: ConfigChanges, logger: Logger) {
        self.init(
            read: {
                do {
                    return try await daemon.runBlocking { loader.read(again: true) }
                } catch {
                    // The threads are gone: the daemon has stopped.
                    let problem = ConfigProblem(file: loader.file, position: nil, key: nil, message: "exporter-proxy is stopping")
                    return ConfigReading(result: .failure(ConfigProblems([problem])), files: [:])
                }
            },
            apply: { loaded in
                do throws(ConfigProblems) {
                    return .success(try await daemon.reload(to: loaded))
                } catch {
                    return .failure(error)
                }
            },
            watch: { changes.watch($0) }, metrics: daemon.metrics.reloads, logger: logger)
    }
}
