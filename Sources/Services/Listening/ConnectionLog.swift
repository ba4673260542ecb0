import Logging
import NIOCore
import Proxy
import TLS

/// Logs events of single connections of one listener: few lines, whatever peers do.
final class ConnectionLog: Sendable {
    private let logger: Logger
    private let limiter: LogLimiter

    /// - Parameters:
    ///   - logger: carries the listener's name.
    ///   - limiter: of all lines about the listener's connections.
    init(logger: Logger, limiter: LogLimiter = LogLimiter()) {
        self.logger = logger
        self.limiter = limiter
    }

    /// Writes a line about a connection, unless too many were written just now.
    func write(
        _ level: Logger.Level, _ message: @autoclosure () -> Logger.Message, peer channel: any Channel,
        _ metadata: @autoclosure () -> Logger.Metadata = [:]
    ) {
        write(level, message(), peer: peerName(of: channel), metadata())
    }

    /// Writes a line about a connection, unless too many were written just now.
    func write(
        _ level: Logger.Level, _ message: @autoclosure () -> Logger.Message, peer: @autoclosure () -> String,
        _ metadata: @autoclosure () -> Logger.Metadata = [:]
    ) {
        guard level >= logger.logLevel, let suppressed = limiter.admit() else { return }
        var metadata = metadata()
        metadata[LogKey.peer] = "\(peer())"
        if suppressed > 0 { metadata[LogKey.suppressed] = "\(suppressed)" }
        logger.log(level: level, message(), metadata: metadata)
    }

    /// Logs an error of a pipeline: failures of TLS at `info`, because a scanner can cause them; a reset at `debug`. `HandshakeLog` counts
    /// and logs failed handshakes; their full text is logged here at `debug`.
    func failed(_ error: any Error, peer channel: any Channel) {
        switch error {
        case let error as TLSError where error.endsHandshake:
            write(.debug, "TLS handshake failed", peer: channel, [LogKey.error: "\(error)"])
        case let error as TLSError: write(.info, "TLS failed", peer: channel, [LogKey.error: "\(error)"])
        default: write(.debug, "connection failed", peer: channel, [LogKey.error: "\(error)"])
        }
    }
}

/// Counts the ends of one listener's TLS handshakes, and logs failures at most once a minute for each reason, so that neither a scanner nor
/// a whole fleet with a wrong certificate can flood the log.
struct HandshakeLog: Sendable {
    private let metrics: ListenerMetrics
    private let logger: Logger
    private let limiters = Dictionary(
        uniqueKeysWithValues: TLSHandshakeFailure.allCases.map { ($0, LogLimiter(burst: 1, each: Self.quiet)) })

    static let quiet = TimeAmount.minutes(1)

    /// - Parameter logger: carries the listener's name.
    init(metrics: ListenerMetrics, logger: Logger) {
        self.metrics = metrics
        self.logger = logger
    }

    /// Notes the end of a handshake. Called on the connection's event loop.
    /// - Parameter failure: `nil` when it succeeded.
    func ended(_ failure: TLSHandshakeFailure?, channel: any Channel, at now: NIODeadline = .now()) {
        guard let failure else { return metrics.handshakeSucceeded() }
        metrics.handshakeFailed(reason: failure.word)
        guard let suppressed = limiters[failure]?.admit(at: now) else { return }
        var metadata: Logger.Metadata = [LogKey.reason: "\(failure.word)", LogKey.peer: "\(peerName(of: channel))"]
        if suppressed > 0 { metadata[LogKey.suppressed] = "\(suppressed)" }
        // A scanner can cause it, so it is not a warning.
        logger.info("TLS handshake failed", metadata: metadata)
    }
}
