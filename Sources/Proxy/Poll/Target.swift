import HTTP
public import NIOCore

/// One endpoint to poll, with the general settings of `[poll_external]` merged in.
public struct Target: Equatable, Sendable {
    /// Its identity across reloads.
    public var url: TargetURL
    /// The app's name, unique among targets.
    public var name: AppName
    /// The time from the start of one poll to the start of the next.
    public var interval: Duration
    /// The time limit of the whole poll, with redirects; not above `interval`.
    public var timeout: Duration
    /// Its metrics leave `/metrics` if it does not answer for this long; `nil` means never.
    public var expireAfter: Duration?
    /// The largest body, uncompressed.
    public var bodySizeLimit: ByteCount
    /// Sent with each request, in this order, without the fields that the client itself sets.
    public var headers: [Header]
    /// Whether a redirect is followed; otherwise it is a failure.
    public var followRedirects: Bool
    /// Sent only to the target's own origin.
    public var credentials: Credentials?
    /// For `https`, also after redirects.
    public var tls: TLSClientConfig
    /// Set on each sample, in this order. Empty when `metrics.validate` is `off`; none has the name of `metrics.app_label`.
    public var labels: [Label] = []
    /// The HTTP proxy for this target; `nil` means none. Always `nil` for a Unix socket.
    public var proxyURL: HTTPProxy? = nil
    /// Whether the connection is kept for the next poll.
    public var keepAlive = true

    /// A label to set on each sample.
    public struct Label: Equatable, Sendable {
        /// `[a-zA-Z_][a-zA-Z0-9_]*`; not `le` or `quantile`, and not beginning with `__`.
        public var name: String
        /// Any text without NUL, unescaped.
        @ExactText public var value: String

        /// A label; both parts are known to be valid.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// A header field to send.
    public struct Header: Equatable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
        /// The field's name, as it is sent.
        public var name: String
        /// The field's value, without line breaks.
        @ExactText public var value: String

        /// The fields that the client itself sets, in lower case, each with a remark for messages. They cannot be configured.
        static let setByClient = [
            "accept": " (only text format 0.0.4 can be joined)", "accept-encoding": "", "connection": "", "content-length": "",
            "content-type": "", "expect": "", "host": " from the URL", "keep-alive": "", "proxy-connection": "", "te": "", "trailer": "",
            "transfer-encoding": "", "upgrade": "", "user-agent": "", Request.instanceField: "", "x-prometheus-scrape-timeout-seconds": "",
        ]

        /// A field; both parts are known to be valid (RFC 9110 §5).
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }

        /// Neither name nor value: either may be a token.
        public var description: String { "<header>" }
        /// Neither name nor value.
        public var debugDescription: String { description }
        /// Neither name nor value.
        public var customMirror: Mirror { Mirror(self, children: []) }
    }

    /// The contents of `Authorization`.
    public enum Credentials: Equatable, Sendable {
        case basic(username: String, password: Secret)
        /// `TYPE CREDENTIALS`, the type usually `Bearer`.
        case authorization(type: String, credentials: Secret)

        /// Whether both send the same bytes.
        public static func == (a: Credentials, b: Credentials) -> Bool {
            switch (a, b) {
            case (.basic(let name, let password), .basic(let other, let otherPassword)):
                name.hasSameBytes(as: other) && password == otherPassword
            case (.authorization(let type, let credentials), .authorization(let otherType, let otherCredentials)):
                type.hasSameBytes(as: otherType) && credentials == otherCredentials
            default: false
            }
        }
    }

    /// Makes a target; parameters that are left out have their default.
    public init(
        url: TargetURL, name: AppName, interval: Duration = .seconds(5), timeout: Duration = .seconds(2),
        expireAfter: Duration? = .seconds(60),
        bodySizeLimit: ByteCount = .mebibytes(64), headers: [Header] = [], followRedirects: Bool = true,
        credentials: Credentials? = nil, tls: TLSClientConfig = TLSClientConfig()
    ) {
        self.url = url
        self.name = name
        self.interval = interval
        self.timeout = timeout
        self.expireAfter = expireAfter
        self.bodySizeLimit = bodySizeLimit
        self.headers = headers
        self.followRedirects = followRedirects
        self.credentials = credentials
        self.tls = tls
    }
}

/// When a target is polled: once soon after the start, then at times that are one interval apart. The offset of these times comes from the
/// URL, so that targets with equal intervals are spread over the interval, and no target depends on the others.
///
/// The times are multiples of a slot of some milliseconds. With hundreds of targets, several are polled one after another after one
/// wake-up, which costs less than a wake-up for each.
public struct PollSchedule: Sendable {
    /// The length of a slot; short intervals have shorter slots.
    static let longestSlot: UInt64 = 250_000_000
    /// The smallest number of slots in an interval.
    static let leastSlots: UInt64 = 4
    /// The first polls of all targets are spread over this time, so that `/-/ready` does not wait for a long interval.
    static let firstPollSpread: UInt64 = 1_000_000_000

    /// Nanoseconds, never zero.
    private let interval: UInt64
    /// Nanoseconds, never zero.
    private let slot: UInt64
    private let hash: UInt64

    /// - Parameter interval: the time between two polls; less than a millisecond counts as one.
    public init(url: TargetURL, interval: Duration) {
        self.interval = UInt64(max(TimeAmount(interval).nanoseconds, 1_000_000))
        self.slot = min(PollSchedule.longestSlot, self.interval / PollSchedule.leastSlots)
        self.hash = PollSchedule.hash(of: url.description)
    }

    /// The time of the first poll: within a second of `start`, and within the interval.
    public func first(from start: NIODeadline) -> NIODeadline {
        NIODeadline.uptimeNanoseconds(start.uptimeNanoseconds &+ offset(within: min(interval, PollSchedule.firstPollSpread)))
    }

    /// The first of the target's times after `now`. Missed times (a slow poll, a suspended machine) are skipped.
    public func next(after now: NIODeadline) -> NIODeadline {
        let offset = offset(within: interval)
        let uptime = now.uptimeNanoseconds
        guard uptime >= offset else { return .uptimeNanoseconds(offset) }
        let missed = (uptime - offset) / interval
        return .uptimeNanoseconds(offset + (missed + 1) * interval)
    }

    /// The time of the poll that follows one. A poll may take the whole interval, and ends a little after the next of the target's times
    /// then: the next poll begins at once. Times that were missed by an interval or more are skipped.
    public func next(after began: NIODeadline, endedAt now: NIODeadline) -> NIODeadline {
        let next = next(after: began)
        return now.uptimeNanoseconds < next.uptimeNanoseconds + interval ? max(now, next) : self.next(after: now)
    }

    /// The start of one of the slots of `time`.
    private func offset(within time: UInt64) -> UInt64 {
        let offset = hash % time
        return offset - offset % slot
    }

    /// FNV-1a with a final mix. Unlike `Hasher` it is the same in every process, and it spreads over all bits, because the remainder is
    /// used.
    private static func hash(of text: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
        return hash ^ (hash >> 33)
    }
}
