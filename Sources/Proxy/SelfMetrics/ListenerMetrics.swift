import Synchronization

/// The counters of one listener. Two listeners with the same name, one after the other, share them.
public final class ListenerMetrics: Sendable {
    /// What listens.
    public enum Kind: Sendable {
        case scrape
        /// Takes JSON or Cap'n Proto.
        case receiver
        /// Takes HTTP.
        case httpReceiver
    }

    /// What a message was: the label of `exporter_proxy_received_messages_total{format}`.
    public enum Format: String, CaseIterable, Sendable {
        case json
        case capnp
        /// Text format 0.0.4.
        case text
        case protobuf

        /// What a connection of this format sends.
        public init(_ format: PushFormat) {
            switch format {
            case .json: self = .json
            case .capnp: self = .capnp
            }
        }
    }

    /// The configured address or socket path.
    public let name: String
    let kind: Kind
    /// Open connections.
    public let connections = Gauge()
    /// Connections that were closed at once because of the limit.
    public let rejectedConnections = Counter()

    /// All labels here are stored as text, because a scrape writes dozens of them.
    private let labels: String
    private let received: [Series<Format>]
    private let rejected: [Series<Rejection.Reason>]
    private let handshakes: Series<Void>
    private let failedHandshakes: String
    /// Guards the counters of TLS.
    private let tls = Mutex(TLS())

    private struct Series<Key: Sendable>: Sendable {
        let key: Key
        let labels: String
        let count = Counter()

        var sample: (labels: String, count: Int) { (labels, count.value) }
    }

    private struct TLS {
        var failures: [String: (labels: String, count: Int)] = [:]
        var certificateNotAfter: Int64?
        var revocationsEnd: Int64?
    }

    init(name: String, kind: Kind) {
        self.name = name
        self.kind = kind
        let formats: [Format] =
            switch kind {
            case .scrape: []
            case .receiver: [.json, .capnp]
            case .httpReceiver: [.text, .json, .protobuf]
            }
        labels = ExpositionWriter.labels(("listener", name))
        received = formats.map {
            Series(key: $0, labels: ListenerMetrics.labels(name, "format", $0.rawValue))
        }
        rejected = (formats.isEmpty ? [] : Rejection.Reason.allCases).map {
            Series(key: $0, labels: ListenerMetrics.labels(name, "reason", $0.rawValue))
        }
        handshakes = Series(key: (), labels: ListenerMetrics.labels(name, "result", "success"))
        failedHandshakes = ListenerMetrics.labels(name, "result", "failure")
    }

    /// A message was applied.
    public func countReceived(_ format: Format) { received.first { $0.key == format }?.count.increment() }

    /// A message was refused.
    public func countRejected(_ rejection: Rejection) { rejected.first { $0.key == rejection.reason }?.count.increment() }

    /// A TLS handshake succeeded.
    public func handshakeSucceeded() { handshakes.count.increment() }

    /// A TLS handshake failed.
    /// - Parameter reason: one of a fixed set of words.
    public func handshakeFailed(reason: String) {
        tls.withLock { tls in
            tls.failures[reason, default: (ListenerMetrics.labels(name, "reason", reason), 0)].count += 1
        }
    }

    /// Sets when the listener's certificate expires, and when the first of the revocation lists for clients ends.
    /// - Parameters:
    ///   - notAfter: seconds since 1970-01-01 UTC; `nil` without TLS.
    ///   - revocationsEnd: seconds since 1970-01-01 UTC; `nil` without revocation lists.
    public func setCertificate(notAfter: Int64?, revocationsEnd: Int64?) {
        tls.withLock {
            $0.certificateNotAfter = notAfter
            $0.revocationsEnd = revocationsEnd
        }
    }

    /// When the listener's certificate expires, in seconds since 1970-01-01 UTC; `nil` without TLS.
    public var certificateNotAfter: Int64? { tls.withLock { $0.certificateNotAfter } }

    private static func labels(_ listener: String, _ label: String, _ value: String) -> String {
        ExpositionWriter.labels(("listener", listener), (label, value))
    }
}

extension ListenerMetrics {
    /// All values at one moment, with their labels as text.
    struct Sample {
        var labels: String
        var connections: Int
        var rejectedConnections: Int
        var received: [(labels: String, count: Int)]
        var rejected: [(labels: String, count: Int)]
        /// Empty for a listener that never had TLS.
        var handshakes: [(labels: String, count: Int)]
        var failures: [(labels: String, count: Int)]
        var certificateNotAfter: Int64?
        var revocationsEnd: Int64?
    }

    func sample() -> Sample {
        let tls = tls.withLock { $0 }
        let failed = tls.failures.values.reduce(0) { $0 + $1.count }
        let speaksTLS = tls.certificateNotAfter != nil || handshakes.count.value + failed > 0
        return Sample(
            labels: labels, connections: connections.value, rejectedConnections: rejectedConnections.value,
            received: received.map(\.sample), rejected: rejected.map(\.sample),
            handshakes: speaksTLS ? [handshakes.sample, (failedHandshakes, failed)] : [],
            failures: tls.failures.sorted { $0.key < $1.key }.map { ($0.value.labels, $0.value.count) },
            certificateNotAfter: tls.certificateNotAfter, revocationsEnd: tls.revocationsEnd)
    }
}

/// Counts up, on any thread.
public final class Counter: Sendable {
    private let count = Atomic(0)

    /// From zero.
    public init() {}

    /// The current count.
    public var value: Int { count.load(ordering: .relaxed) }

    /// Counts one more.
    public func increment() { count.add(1, ordering: .relaxed) }
}

/// Goes up and down, on any thread.
public final class Gauge: Sendable {
    private let level = Atomic(0)

    /// At zero.
    public init() {}

    /// The current level.
    public var value: Int { level.load(ordering: .relaxed) }

    /// Adds `change`, which may be negative.
    public func add(_ change: Int) { level.add(change, ordering: .relaxed) }
}

/// The counters of one target's polls.
public final class TargetMetrics: Sendable {
    struct Sample {
        var name: AppName
        /// Stored as text: `target` alone, and with each result.
        var labels: (target: String, success: String, failure: String)
        var isUp = false
        /// In nanoseconds; `nil` before the first poll has ended.
        var duration: Int64?
        /// When the client certificate for it expires, in seconds since 1970-01-01 UTC; `nil` without one.
        var certificateNotAfter: Int64?
        var successes = 0
        var failures = 0

        init(name: AppName) {
            self.name = name
            labels = Sample.labels(name)
        }

        static func labels(_ name: AppName) -> (target: String, success: String, failure: String) {
            let name = name.description
            return (
                ExpositionWriter.labels(("target", name)), ExpositionWriter.labels(("target", name), ("result", "success")),
                ExpositionWriter.labels(("target", name), ("result", "failure"))
            )
        }
    }

    private let state: Mutex<Sample>

    init(name: AppName) { state = Mutex(Sample(name: name)) }

    /// A poll has ended.
    /// - Parameter outcome: the recorded outcome.
    public func ended(_ outcome: PollOutcome, after duration: Duration) {
        let nanoseconds = duration.wholeNanoseconds
        state.withLock { state in
            state.duration = nanoseconds
            switch outcome {
            case .success:
                state.isUp = true
                state.successes += 1
            case .failure:
                state.isUp = false
                state.failures += 1
            }
        }
    }

    /// Sets when the client certificate for the target expires.
    /// - Parameter notAfter: seconds since 1970-01-01 UTC; `nil` without a client certificate.
    public func setCertificate(notAfter: Int64?) {
        state.withLock { $0.certificateNotAfter = notAfter }
    }

    /// Gives the app another name; the counts continue.
    func rename(to name: AppName) {
        state.withLock { state in
            guard state.name != name else { return }
            state.name = name
            state.labels = Sample.labels(name)
        }
    }

    func sample() -> Sample { state.withLock { $0 } }
}
