import Logging
import NIOCore
import Proxy
import TLS

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
        // A scanner can cause it, so it is no warning.
        logger.info("TLS handshake failed", metadata: metadata)
    }
}
