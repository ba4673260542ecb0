import NIOCore
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

    /// The format of a message: the label `format` of `exporter_proxy_received_messages_total`.
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
    fileprivate let labels: String
    let received: [(format: Format, line: LabelledCounter)]
    let rejected: [(reason: Rejection.Reason, line: LabelledCounter)]
    private let succeededHandshakes: LabelledCounter
    private let failedHandshakes: String
    /// Guards the other figures of TLS.
    private let tls = Mutex(TLS())

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
        received = formats.map { ($0, LabelledCounter(ListenerMetrics.labels(name, "format", $0.rawValue), Counter())) }
        rejected = (formats.isEmpty ? [] : Rejection.Reason.allCases).map {
            ($0, LabelledCounter(ListenerMetrics.labels(name, "reason", $0.rawValue), Counter()))
        }
        succeededHandshakes = LabelledCounter(ListenerMetrics.labels(name, "result", "success"), Counter())
        failedHandshakes = ListenerMetrics.labels(name, "result", "failure")
    }

    /// A message was applied.
    public func countReceived(_ format: Format) { received.first { $0.format == format }?.line.counter.increment() }

    /// A message was refused.
    public func countRejected(_ rejection: Rejection) { rejected.first { $0.reason == rejection.reason }?.line.counter.increment() }

    /// A TLS handshake succeeded.
    public func handshakeSucceeded() { succeededHandshakes.counter.increment() }

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
    /// The figures of TLS at one moment, with their labels as text.
    struct TLSSample {
        /// Empty for a listener that never had TLS.
        var handshakes: [(labels: String, value: Int)] = []
        var failures: [(labels: String, value: Int)] = []
        var certificateNotAfter: Int64?
        var revocationsEnd: Int64?
    }

    func tlsSample() -> TLSSample {
        let tls = tls.withLock { $0 }
        let succeeded = succeededHandshakes.counter.value
        guard tls.certificateNotAfter != nil || succeeded > 0 || !tls.failures.isEmpty else { return TLSSample() }
        let failed = tls.failures.values.reduce(0) { $0 + $1.count }
        return TLSSample(
            handshakes: [(succeededHandshakes.labels, succeeded), (failedHandshakes, failed)],
            failures: tls.failures.sorted { $0.key < $1.key }.map { ($0.value.labels, $0.value.count) },
            certificateNotAfter: tls.certificateNotAfter, revocationsEnd: tls.revocationsEnd)
    }
}

/// The lines about listeners. Most counters of refused messages never change, so their lines are kept from scrape to scrape.
struct ListenerLines {
    /// The version of the set of listeners.
    let version: Int
    let listeners: [ListenerMetrics]
    private var rejectedConnections: CounterLines
    private var received: CounterLines
    private var rejected: CounterLines

    init(of listeners: [ListenerMetrics], version: Int) {
        self.version = version
        self.listeners = listeners
        rejectedConnections = CounterLines(.connectionsRejected, listeners.map { LabelledCounter($0.labels, $0.rejectedConnections) })
        received = CounterLines(.received, listeners.flatMap { $0.received.map(\.line) })
        rejected = CounterLines(.rejected, listeners.flatMap { $0.rejected.map(\.line) })
    }

    mutating func writeConnectionsAndMessages(to writer: inout ExpositionWriter) {
        writer.write(.connections, listeners.map { ($0.labels, $0.connections.value) })
        rejectedConnections.write(to: &writer)
        received.write(to: &writer)
        rejected.write(to: &writer)
    }

    func writeTLS(to writer: inout ExpositionWriter) {
        let samples = listeners.map { (labels: $0.labels, tls: $0.tlsSample()) }
        writer.write(.handshakes, samples.flatMap(\.tls.handshakes))
        writer.write(.handshakeFailures, samples.flatMap(\.tls.failures))
        writer.write(.certificateNotAfter, samples.compactMap { sample in sample.tls.certificateNotAfter.map { (sample.labels, Int($0)) } })
        writer.write(.crlNextUpdate, samples.compactMap { sample in sample.tls.revocationsEnd.map { (sample.labels, Int($0)) } })
    }
}

/// A counter and its labels as text.
struct LabelledCounter: Sendable {
    let labels: String
    let counter: Counter

    init(_ labels: String, _ counter: Counter) {
        self.labels = labels
        self.counter = counter
    }
}

/// The counters of one family, and their lines as text. The text is written again only after a counter has grown.
struct CounterLines {
    private let family: OwnFamily
    private let counters: [LabelledCounter]
    /// The sum of the values in `text`. Counters only grow, so the values are the same while the sum is.
    private var sum = -1
    private var text = ByteBuffer()

    init(_ family: OwnFamily, _ counters: [LabelledCounter]) {
        self.family = family
        self.counters = counters
    }

    /// Writes nothing when there are no counters.
    mutating func write(to writer: inout ExpositionWriter) {
        let sum = counters.reduce(0) { $0 &+ $1.counter.value }
        if sum != self.sum {
            self.sum = sum
            var lines = ExpositionWriter(capacity: 128 * counters.count)
            lines.write(family, counters.map { ($0.labels, $0.counter.value) })
            text = lines.buffer
        }
        writer.append(text)
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
