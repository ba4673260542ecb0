import Logging
import NIOCore
import Proxy
import Synchronization
public import TLS

/// How the TLS handshakes of one listener ended: counted by reason, and told in the log at most once a minute for each reason, so that
/// neither a scanner nor a whole fleet with a wrong certificate can flood it.
public final class HandshakeAccount: Sendable {
    private let successes = Atomic(0)
    /// Guards the failures' account.
    private let reasons = Mutex<[TLSHandshakeFailure: Reason]>([:])

    private struct Reason {
        var count = 0
        /// No line before this moment.
        var quietUntil = NIODeadline.uptimeNanoseconds(0)
        /// Failures since the last line.
        var untold = 0
    }

    static let quiet = TimeAmount.minutes(1)

    init() {}

    /// Handshakes that succeeded.
    public var succeeded: Int { successes.load(ordering: .relaxed) }

    /// Handshakes that failed, by reason; reasons without any are left out.
    public var failed: [TLSHandshakeFailure: Int] { reasons.withLock { $0.mapValues(\.count) } }

    /// Notes the end of a handshake. Called on the connection's event loop.
    /// - Parameters:
    ///   - failure: `nil` when it succeeded.
    ///   - logger: carries the listener's name.
    func note(_ failure: TLSHandshakeFailure?, channel: any Channel, logger: Logger, at now: NIODeadline = .now()) {
        guard let failure else {
            successes.add(1, ordering: .relaxed)
            return
        }
        guard let suppressed = count(failure, at: now) else { return }
        var metadata: Logger.Metadata = [LogKey.reason: "\(failure.rawValue)", LogKey.peer: "\(peerName(of: channel))"]
        if suppressed > 0 { metadata[LogKey.suppressed] = "\(suppressed)" }
        // A scanner can cause it, so that nobody need be woken up.
        logger.info("TLS handshake failed", metadata: metadata)
    }

    /// - Returns: whether to tell now, and then how many were not told before; `nil` to keep quiet.
    func count(_ failure: TLSHandshakeFailure, at now: NIODeadline) -> Int? {
        reasons.withLock { reasons in
            var reason = reasons[failure, default: Reason()]
            defer { reasons[failure] = reason }
            reason.count += 1
            guard now >= reason.quietUntil else {
                reason.untold += 1
                return nil
            }
            defer { reason.untold = 0 }
            reason.quietUntil = now + Self.quiet
            return reason.untold
        }
    }
}

extension ListenerMetrics {
    /// Counts the end of a handshake: `nil` when it succeeded.
    func handshakeEnded(_ failure: TLSHandshakeFailure?) {
        if let failure { handshakeFailed(reason: failure.rawValue) } else { handshakeSucceeded() }
    }
}
