import Glibc
public import Logging
import Proxy
public import ServiceLifecycle
import UnixSignals

/// Runs the daemon in the foreground until SIGTERM or SIGINT, then stops it gracefully.
/// - Parameter configFile: as it was named; relative paths in it are relative to its folder.
/// - Throws: `ConfigProblems` when it cannot start.
public func serve(configFile: String, logger: Logger) async throws {
    // A peer that is gone must be an error of one write, not the end of the process.
    signal(SIGPIPE, SIG_IGN)
    let loaded = try ConfigLoader(file: configFile).load()
    if OpenFileLimit.raise() == nil { logger.warning("cannot raise the limit of open files") }
    let daemon = Daemon(loaded, logger: logger)
    let group = ServiceGroup(services: [daemon], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    try await group.run()
}

extension Daemon: Service {
    /// Starts, waits for the signal to stop, and stops.
    public func run() async throws {
        logger.info("starting", metadata: [LogKey.version: "\(ProgramVersion.current)", LogKey.file: "\(loaded.origin.file)"])
        try await start()
        try? await gracefulShutdown()
        logger.info("stopping")
        await stop()
        logger.info("stopped")
    }
}
