import Synchronization

/// What one listener counts, by its name: two that follow each other at one address share it.
public final class ListenerMetrics: Sendable {
    /// What listens.
    public enum Kind: Sendable {
        case scrape
        case receiver
    }

    /// The configured address or socket path.
    public let name: String
    let kind: Kind
    /// Connections open now.
    public let connections = Gauge()
    /// Connections closed at once, beyond the limit.
    public let rejectedConnections = Counter()

    private let receivedCounts: [PushFormat: Counter]
    private let rejectedCounts: [String: Counter]
    private let handshakes = Counter()
    /// Guards what only TLS has.
    private let tls = Mutex(TLS())

    private struct TLS {
        var failures: [String: Int] = [:]
        var certificateNotAfter: Int64?
    }

    init(name: String, kind: Kind) {
        self.name = name
        self.kind = kind
        let isReceiver = kind == .receiver
        receivedCounts = Dictionary(uniqueKeysWithValues: (isReceiver ? PushFormat.allCases : []).map { ($0, Counter()) })
        rejectedCounts = Dictionary(uniqueKeysWithValues: (isReceiver ? Rejection.reasons : []).map { ($0, Counter()) })
    }

    /// A message was applied.
    public func countReceived(_ format: PushFormat) { receivedCounts[format]?.increment() }

    /// A message was refused.
    public func countRejected(_ rejection: Rejection) { rejectedCounts[rejection.reason]?.increment() }

    /// A TLS handshake succeeded.
    public func handshakeSucceeded() { handshakes.increment() }

    /// A TLS handshake came to nothing.
    /// - Parameter reason: one of a fixed set of words.
    public func handshakeFailed(reason: String) {
        tls.withLock { $0.failures[reason, default: 0] += 1 }
    }

    /// The certificate that is shown from now on: when it expires, in seconds since 1970-01-01 UTC; `nil` without TLS.
    public func setCertificate(notAfter: Int64?) {
        tls.withLock { $0.certificateNotAfter = notAfter }
    }

    /// When the certificate that is shown expires, in seconds since 1970-01-01 UTC; `nil` without TLS.
    public var certificateNotAfter: Int64? { tls.withLock { $0.certificateNotAfter } }
}

extension ListenerMetrics {
    /// All of it at one moment, its labels ready.
    struct Sample {
        var labels: String
        var connections: Int
        var rejectedConnections: Int
        var received: [(labels: String, count: Int)]
        var rejected: [(labels: String, count: Int)]
        /// Nothing for a listener that never spoke TLS.
        var handshakes: [(labels: String, count: Int)]
        var failures: [(labels: String, count: Int)]
        var certificateNotAfter: Int64?
    }

    func sample() -> Sample {
        let tls = tls.withLock { $0 }
        let failed = tls.failures.values.reduce(0, +)
        let speaksTLS = tls.certificateNotAfter != nil || handshakes.value + failed > 0
        func labels(_ label: String, _ value: String) -> String { ExpositionWriter.labels(("listener", name), (label, value)) }
        return Sample(
            labels: ExpositionWriter.labels(("listener", name)), connections: connections.value,
            rejectedConnections: rejectedConnections.value,
            received: PushFormat.allCases.compactMap { format in
                receivedCounts[format].map { (labels("format", format.rawValue), $0.value) }
            },
            rejected: Rejection.reasons.compactMap { reason in rejectedCounts[reason].map { (labels("reason", reason), $0.value) } },
            handshakes: speaksTLS
                ? [(labels("result", "success"), handshakes.value), (labels("result", "failure"), failed)] : [],
            failures: tls.failures.sorted { $0.key < $1.key }.map { (labels("reason", $0.key), $0.value) },
            certificateNotAfter: tls.certificateNotAfter)
    }
}
