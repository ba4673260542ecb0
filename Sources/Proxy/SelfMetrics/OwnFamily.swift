import Exposition
import NIOCore

/// One of the proxy's own metrics: the common properties of its samples.
struct OwnFamily: Sendable {
    enum Kind: String, Sendable {
        case counter, gauge
    }

    /// Begins with `exporter_proxy_`, so that it does not collide with what apps push.
    let name: String
    let kind: Kind
    let labels: [String]
    let help: String
    /// The lines before its samples.
    let header: String

    init(_ kind: Kind, _ shortName: String, _ labels: [String], _ help: String) {
        self.kind = kind
        self.labels = labels
        self.help = help
        name = "exporter_proxy_\(shortName)"
        // These texts need no escaping.
        header = "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }
}

/// All families. Tests compare `all` with what is exposed.
extension OwnFamily {
    static let apps = OwnFamily(.gauge, "apps", "Apps that count towards max_apps, without expired ones.")
    static let storedBytes = OwnFamily(.gauge, "stored_bytes", "Bytes of the metrics of all apps, as they count towards max_total_size.")
    static let appLastUpdate = OwnFamily(
        .gauge, "app_last_update_timestamp_seconds", ["app"], "When the app's metrics were last replaced; absent before the first time.")
    static let appSize = OwnFamily(.gauge, "app_size_bytes", ["app"], "Bytes of the app's metrics, the final newline included.")

    static let appValid = OwnFamily(
        .gauge, "app_valid", ["app"], "Whether Prometheus reads the app's metrics; absent before their first check.")
    static let appSamples = OwnFamily(.gauge, "app_samples", ["app"], "Samples in the app's metrics; absent before their first check.")
    static let collidingSeries = OwnFamily(
        .gauge, "colliding_series", "Series that are exposed more than once; absent when there are too many series to compare them.")

    static let buildInfo = OwnFamily(.gauge, "build_info", ["version"], "Always 1; the label says which version runs.")
    static let reloadSuccessful = OwnFamily(
        .gauge, "config_last_reload_successful", "Whether the last reload of the configuration succeeded; 1 after the start.")
    static let reloadSuccessTime = OwnFamily(
        .gauge, "config_last_reload_success_timestamp_seconds",
        "When the configuration was last loaded successfully, at the start or by a reload.")
    static let reloads = OwnFamily(.counter, "config_reloads_total", ["result"], "Reloads of the configuration, by result.")
    static let appsLimit = OwnFamily(.gauge, "apps_limit", "The limit max_apps.")
    static let storedBytesLimit = OwnFamily(.gauge, "stored_bytes_limit", "The limit max_total_size.")
    static let connections = OwnFamily(.gauge, "connections", ["listener"], "Connections open now.")
    static let connectionsRejected = OwnFamily(
        .counter, "connections_rejected_total", ["listener"], "Connections closed at once, beyond max_connections.")
    static let received = OwnFamily(
        .counter, "received_messages_total", ["listener", "format"], "Pushed messages that were applied.")
    static let rejected = OwnFamily(
        .counter, "rejected_messages_total", ["listener", "reason"], "Pushed messages that were refused, by reason.")
    static let pollUp = OwnFamily(
        .gauge, "poll_up", ["target"], "Whether the last poll of the target succeeded; absent before its first poll has ended.")
    static let pollDuration = OwnFamily(.gauge, "poll_duration_seconds", ["target"], "How long the last poll of the target took.")
    static let polls = OwnFamily(.counter, "polls_total", ["target", "result"], "Polls of the target, by result.")
    static let pollCertificateNotAfter = OwnFamily(
        .gauge, "poll_certificate_not_after_timestamp_seconds", ["target"],
        "When the client certificate that is shown to the target expires.")
    static let requests = OwnFamily(
        .counter, "http_requests_total", ["path", "code"], "HTTP requests answered on the scrape side, by route and status code.")
    static let slowReadersCut = OwnFamily(
        .counter, "slow_readers_cut_total", ["reason"], "Connections cut because their reader took an answer too slowly, by the limit.")
    static let handshakes = OwnFamily(.counter, "tls_handshakes_total", ["listener", "result"], "TLS handshakes, by result.")
    static let handshakeFailures = OwnFamily(
        .counter, "tls_handshake_failures_total", ["listener", "reason"], "TLS handshakes that failed, by reason.")
    static let certificateNotAfter = OwnFamily(
        .gauge, "tls_certificate_not_after_timestamp_seconds", ["listener"], "When the certificate that the listener shows expires.")
    static let crlNextUpdate = OwnFamily(
        .gauge, "tls_crl_next_update_timestamp_seconds", ["listener"],
        "When the first of the revocation lists for clients ends; clients of its authority are refused from then on.")

    static let heldBytes = OwnFamily(
        .gauge, "held_bytes", ["kind"], "Bytes held for peers: what was read, pushed, polled, answered, and handshakes, not finished yet.")

    static let stateLastWrite = OwnFamily(
        .gauge, "state_last_write_timestamp_seconds", "When the state file was last written; absent before the first time.")
    static let stateSuccessful = OwnFamily(
        .gauge, "state_last_write_successful", "Whether the last write of the state file succeeded; 1 before the first one.")
    static let stateWrites = OwnFamily(.counter, "state_writes_total", ["result"], "Writes of the state file, by result.")

    static let eventLoopLag = OwnFamily(
        .gauge, "event_loop_lag_seconds", "The longest delay of an event loop in the last minute.")

    static let cpuSeconds = OwnFamily(.counter, "process_cpu_seconds_total", "User and system CPU time spent.")
    static let openFiles = OwnFamily(.gauge, "process_open_fds", "Open file descriptors.")
    static let maxFiles = OwnFamily(.gauge, "process_max_fds", "The limit of open file descriptors.")
    static let virtualMemory = OwnFamily(.gauge, "process_virtual_memory_bytes", "Virtual memory size.")
    static let residentMemory = OwnFamily(.gauge, "process_resident_memory_bytes", "Resident memory size.")
    static let startTime = OwnFamily(.gauge, "process_start_time_seconds", "When the process started.")
    static let threads = OwnFamily(.gauge, "process_threads", "Threads of the process.")

    static let all: [OwnFamily] = [
        apps, storedBytes, appLastUpdate, appSize, appValid, appSamples, collidingSeries, buildInfo, reloadSuccessful, reloadSuccessTime,
        reloads, appsLimit, storedBytesLimit,
        connections, connectionsRejected, received, rejected, pollUp, pollDuration, polls, pollCertificateNotAfter, requests,
        slowReadersCut, handshakes,
        handshakeFailures, certificateNotAfter, crlNextUpdate, heldBytes, stateLastWrite, stateSuccessful, stateWrites, eventLoopLag,
        cpuSeconds, openFiles, maxFiles, virtualMemory,
        residentMemory, startTime, threads,
    ]
}

extension OwnFamily {
    /// Without labels.
    private init(_ kind: Kind, _ shortName: String, _ help: String) { self.init(kind, shortName, [], help) }
}

/// Writes the text format 0.0.4, family by family.
struct ExpositionWriter {
    private(set) var buffer = ByteBuffer()

    init(capacity: Int) { buffer.reserveCapacity(capacity) }

    /// Adds complete lines.
    mutating func append(_ lines: ByteBuffer) { buffer.writeImmutableBuffer(lines) }

    mutating func begin(_ family: OwnFamily) { buffer.writeString(family.header) }

    /// - Parameter labels: in braces and escaped; empty for a family without labels.
    mutating func sample(_ family: OwnFamily, labels: String = "", _ value: Int) {
        line(family.name, labels) { $0.append(decimal: value) }
    }

    /// A value in seconds, exact to the nanosecond.
    mutating func sample(_ family: OwnFamily, labels: String = "", nanoseconds: Int64) {
        line(family.name, labels) { $0.append(seconds: nanoseconds) }
    }

    /// Writes a line in one step, because a scrape writes a hundred lines, and the buffer checks its storage at each step.
    private mutating func line(_ name: String, _ labels: String, value: (inout LineBytes) -> Void) {
        let room = name.utf8.count + labels.utf8.count + LineBytes.maxValue + 2
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { free in
            guard let start = free.baseAddress else { return 0 }
            var line = LineBytes(start)
            line.append(name)
            line.append(labels)
            line.append(UInt8(ascii: " "))
            value(&line)
            line.append(UInt8(ascii: "\n"))
            return line.count
        }
    }

    /// A family of one sample.
    mutating func single(_ family: OwnFamily, labels: String = "", _ value: Int) {
        begin(family)
        sample(family, labels: labels, value)
    }

    /// `{name="value",…}`, the values escaped.
    static func labels(_ pairs: (name: String, value: String)...) -> String {
        "{" + pairs.map { "\($0.name)=\"\(AddedLabels.escaped($0.value))\"" }.joined(separator: ",") + "}"
    }
}

/// The bytes of one line, in memory that has room for them.
private struct LineBytes {
    /// The longest value: a sign, twenty digits and a point.
    static let maxValue = 22

    private let memory: UnsafeMutableRawPointer
    private(set) var count = 0

    init(_ memory: UnsafeMutableRawPointer) {
        self.memory = memory
    }

    mutating func append(_ byte: UInt8) {
        memory.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    mutating func append(_ text: String) {
        var text = text
        count += text.withUTF8 { bytes in
            if let start = bytes.baseAddress { (memory + count).copyMemory(from: start, byteCount: bytes.count) }
            return bytes.count
        }
    }

    mutating func append(decimal value: Int) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(digits: UInt64(value.magnitude))
    }

    /// Writes as many digits after the point as needed.
    mutating func append(seconds nanoseconds: Int64) {
        if nanoseconds < 0 { append(UInt8(ascii: "-")) }
        let (whole, rest) = nanoseconds.magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
        append(digits: whole)
        guard rest > 0 else { return }
        append(UInt8(ascii: "."))
        append(digits: rest, atLeast: 9)
        while memory.load(fromByteOffset: count - 1, as: UInt8.self) == UInt8(ascii: "0") { count -= 1 }
    }

    private mutating func append(digits value: UInt64, atLeast least: Int = 1) {
        var length = 1
        var rest = value / 10
        while rest > 0 {
            length += 1
            rest /= 10
        }
        length = max(length, least)
        rest = value
        for place in (count..<count + length).reversed() {
            memory.storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10), toByteOffset: place, as: UInt8.self)
            rest /= 10
        }
        count += length
    }
}
