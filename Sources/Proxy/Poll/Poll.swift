public import HTTP

/// One poll of a target, from its first request to its end. It decides where to send requests, on which connection, and what an answer
/// means. It is a value and knows no socket; `TargetClient` carries out its actions.
public struct Poll: Sendable {
    /// What to do next.
    public enum Action: Sendable {
        /// Send the request there, on the kept connection of the origin if that is allowed, otherwise on a new one.
        case ask(RedirectPolicy.Hop, mayUseKept: Bool)
        /// The poll has ended, with a body to decode or a failure.
        case end(Result<PolledBody, PollFailure>)
    }

    private var redirects: RedirectPolicy
    /// Whether the peer may have closed the connection before it received the request.
    private var isOnKeptConnection = false
    /// The phase of the current request while it has no connection.
    private var phase = PollFailure.Phase.connecting

    /// Starts at the target itself.
    public init(of target: TargetURL) { redirects = RedirectPolicy(target: target) }

    /// The current place.
    public var hop: RedirectPolicy.Hop { redirects.current }

    /// The first action.
    public func start() -> Action { .ask(hop, mayUseKept: true) }

    /// Records the phase before there is a connection.
    public mutating func entered(_ phase: PollFailure.Phase) { self.phase = phase }

    /// The request is sent on a connection.
    /// - Parameters:
    ///   - isKept: whether it has served an earlier poll.
    ///   - reach: the reach of the address at the other end.
    public mutating func asks(onKeptConnection isKept: Bool, reaching reach: AddressReach) {
        isOnKeptConnection = isKept
        redirects.reached(reach)
    }

    /// The exchange on a connection has ended.
    /// - Parameter cameNothing: whether the connection ended before the first byte of a response.
    public mutating func answered(_ result: PolledAnswer.Result, cameNothing: Bool) -> Action {
        switch result {
        case .failure where cameNothing && isOnKeptConnection:
            // The peer may close a connection between two polls. This is not a failure of the target.
            isOnKeptConnection = false
            return .ask(hop, mayUseKept: false)
        case .failure(let failure):
            return .end(.failure(failure))
        case .body(let body):
            return .end(.success(body))
        case .redirect(let location):
            do throws(PollFailure) {
                return .ask(try redirects.follow(location), mayUseKept: true)
            } catch {
                return .end(.failure(error))
            }
        }
    }

    /// The failure of a poll at its deadline.
    /// - Parameter phase: the phase of the exchange, if there is a connection.
    public func timedOut(after timeout: Duration, _ phase: PollFailure.Phase?) -> PollFailure {
        .timedOut(after: timeout, phase ?? self.phase)
    }
}

/// Follows a target's redirects within one poll: where to go next, and whether that place may see credentials.
///
/// Credentials (`Authorization`, every configured header, the client certificate) are for the target's own origin: scheme, host and port.
/// After a redirect to another origin they are not sent for the rest of the poll, even if a later redirect leads back. Otherwise another
/// server would choose the request that is sent with them. For the same reason a redirect to an address that only this host or its link can
/// reach is followed only if every server before it is at such an address.
public struct RedirectPolicy: Sendable {
    /// The limit of redirects in one poll.
    public static let limit = 10
    /// The longest `Location` accepted, in bytes.
    static let maxLocationLength = 8192

    /// One place to send a request to.
    public struct Hop: Equatable, Sendable {
        /// The URL.
        public let url: TargetURL
        /// Whether credentials, the client certificate and the kept connection may be used.
        public let isTrusted: Bool
        /// The farthest address of the servers that chose this place.
        let chosenFrom: AddressReach

        /// `url`, trusted or not.
        public init(url: TargetURL, isTrusted: Bool, chosenFrom: AddressReach = .host) {
            self.url = url
            self.isTrusted = isTrusted
            self.chosenFrom = chosenFrom
        }

        /// Whether a connection to an address of this kind is allowed. The target's own origin comes from the configuration.
        public func allows(_ reach: AddressReach) -> Bool { isTrusted || reach >= chosenFrom }
    }

    /// The current place.
    public private(set) var current: Hop
    private var followed = 0
    private var farthest = AddressReach.host

    /// Starts at the target itself.
    public init(target: TargetURL) {
        self.current = Hop(url: target, isTrusted: true)
    }

    /// Whether a response of this status is a redirect for a GET (RFC 9110 §15.4).
    public static func isRedirect(_ status: Int) -> Bool {
        switch status {
        case 301, 302, 303, 307, 308: true
        default: false
        }
    }

    /// Records the address of the server at the current place.
    public mutating func reached(_ reach: AddressReach) { farthest = max(farthest, reach) }

    /// Moves to `location`, which is relative to the current place.
    /// - Returns: the new `current`.
    public mutating func follow(_ location: String) throws(PollFailure) -> Hop {
        guard followed < RedirectPolicy.limit else { throw .tooManyRedirects(limit: RedirectPolicy.limit) }
        guard location.utf8.count <= RedirectPolicy.maxLocationLength else { throw .invalidRedirect("location too long") }
        let url = try current.url.resolving(location)
        followed += 1
        current = Hop(url: url, isTrusted: current.isTrusted && url.origin == current.url.origin, chosenFrom: farthest)
        return current
    }
}

/// How far an address reaches, in ascending order.
public enum AddressReach: Comparable, Sendable {
    /// Only this host: a loopback or unspecified address, or a Unix socket.
    case host
    /// The hosts of one link: a link-local address.
    case link
    /// Any other address.
    case network

    /// - Parameter address: the 4 bytes of an IPv4 address or the 16 of an IPv6 address, in network order.
    public init(address bytes: [UInt8]) {
        switch bytes.count {
        // A connection to 0.0.0.0 ends at this host (connect(2) on Linux); all of 0.0.0.0/8 means "this host" (RFC 1122 §3.2.1.3).
        case 4 where bytes[0] == 127 || bytes[0] == 0: self = .host
        case 4 where bytes[0] == 169 && bytes[1] == 254: self = .link
        // ::ffff:0:0/96 are IPv4 addresses (RFC 4291 §2.5.5.2).
        case 16 where bytes[..<10].allSatisfy({ $0 == 0 }) && bytes[10] == 0xFF && bytes[11] == 0xFF:
            self = AddressReach(address: Array(bytes[12...]))
        // ::1 and ::.
        case 16 where bytes[..<15].allSatisfy({ $0 == 0 }) && bytes[15] <= 1: self = .host
        case 16 where bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80: self = .link
        default: self = .network
        }
    }

    /// The kind of address, for messages.
    public var words: String {
        switch self {
        case .host: "a loopback address"
        case .link: "a link-local address"
        case .network: "an address of another network"
        }
    }
}

/// How one poll ended.
public enum PollOutcome: Sendable {
    /// A complete 200, valid UTF-8 without NUL, within timeout and limit.
    case success(Exposition)
    /// The reason, for the log and `/apps`; it contains no secret.
    case failure(reason: String)
}

/// Whether a target answers. It reports only changes, so that a target that fails for a day causes one log line.
public struct PollHealth: Equatable, Sendable {
    /// What one more outcome means.
    public enum Change: Equatable, Sendable {
        /// It answered, or had never been polled, and now fails.
        case becameFailing(reason: String)
        /// It still fails, but for another reason. This is not a change of state.
        case failsDifferently(reason: String)
        /// It failed and now answers.
        case recovered
    }

    private enum State: Equatable {
        case unknown
        case ok
        case failing(reason: String)
    }

    private var state = State.unknown

    /// A target not polled yet.
    public init() {}

    /// Adds the next outcome.
    /// - Returns: `nil` without a change; the first success of a target is not a change.
    public mutating func update(_ outcome: PollOutcome) -> Change? {
        switch (state, outcome) {
        case (.ok, .success):
            return nil
        case (.unknown, .success):
            state = .ok
            return nil
        case (.failing, .success):
            state = .ok
            return .recovered
        case (.failing(let before), .failure(let reason)):
            guard before != reason else { return nil }
            state = .failing(reason: reason)
            return .failsDifferently(reason: reason)
        case (.unknown, .failure(let reason)), (.ok, .failure(let reason)):
            state = .failing(reason: reason)
            return .becameFailing(reason: reason)
        }
    }
}

/// Why a poll failed. Its description, for the log and `/apps`, is stable, limited in length and contains no secret.
public enum PollFailure: Error, Equatable, Sendable {
    /// The phase in which an exchange was.
    public enum Phase: Equatable, Sendable {
        case resolving
        case connecting
        /// Waiting for the HTTP proxy's answer to CONNECT.
        case tunnel
        case handshake
        case awaitingHead
        case readingBody
    }

    case couldNotResolve(host: String, reason: String)
    case connectionRefused
    /// Another error of the system while connecting, with its text.
    case couldNotConnect(String)
    /// Why the HTTP proxy of the target cannot be used.
    case proxy(String)
    case timedOut(after: Duration, Phase)
    /// The certificate or its name, with OpenSSL's text.
    case certificateNotTrusted(String)
    /// Another failure of TLS, with its text.
    case tlsFailed(String)
    /// The connection ended or broke before the response was complete.
    case connectionEnded(Phase, reason: String?)
    /// A TLS connection ended without close_notify where the end of the connection marks the end of the body.
    case truncatedByPeer
    /// Fewer bytes than `Content-Length` promised, or chunks without the last one.
    case incompleteBody(received: Int, expected: Int?)
    case notHTTP(String)
    case headTooLarge(limit: ByteCount)
    case tooManyInformationalResponses
    /// A status other than 200, except redirects that are followed.
    case status(Int, reason: String, note: String?)
    case openMetrics
    case protobuf
    case contentEncoding(String)
    case transferEncoding(String)
    case bodyTooLarge(limit: ByteCount)
    /// All bodies that are being read together exceed their limit.
    case tooMuchInFlight(limit: ByteCount)
    case corruptGzip(String)
    case truncatedGzip
    case invalidUTF8
    case nulByte
    /// The body is clearly not metrics.
    case otherFormat(OtherFormat)
    /// The answer contains the metrics of this program.
    case containsThisInstance
    case tooManyRedirects(limit: Int)
    case invalidRedirect(String)
    case stopped
}

extension PollFailure: CustomStringConvertible {
    /// The most characters that are shown of a reason, which may contain text of the peer.
    static let maxLength = 400

    /// The reason in one line without control characters, at most `maxLength` characters.
    public var description: String { PrintableText(words, limit: PollFailure.maxLength).text }

    private var words: String {
        switch self {
        case .couldNotResolve(let host, let reason): "could not resolve host \(host): \(reason)"
        case .connectionRefused: "connection refused"
        case .couldNotConnect(let reason): "could not connect: \(reason)"
        case .proxy(let reason): "proxy_url: \(reason)"
        case .timedOut(let timeout, let phase): "timed out after \(timeout.decimalSeconds)s \(phase.words)"
        case .certificateNotTrusted(let reason): "certificate not trusted: \(reason)"
        case .tlsFailed(let reason): reason
        case .connectionEnded(.tunnel, nil): "connection closed by the proxy before it answered CONNECT"
        case .connectionEnded(let phase, nil): "connection closed by the target \(phase.words)"
        case .connectionEnded(let phase, let reason?): "connection broken \(phase.words): \(reason)"
        case .truncatedByPeer: "connection closed without close_notify: the body may be cut short"
        case .incompleteBody(let received, let expected?): "incomplete body: \(received) of \(expected) bytes"
        case .incompleteBody(let received, nil): "incomplete body: connection closed after \(received) bytes, before the last chunk"
        case .notHTTP(let reason): "not an HTTP/1 response: \(reason)"
        case .headTooLarge(let limit): "response head larger than \(limit.bytes) bytes"
        case .tooManyInformationalResponses: "too many informational responses (1xx)"
        case .status(let code, let reason, let note):
            "status \(code)\(reason.isEmpty ? "" : " \(reason)")\(note.map { " (\($0))" } ?? "")"
        case .openMetrics: "answered in OpenMetrics, which cannot be joined to the text format; make it answer text/plain; version=0.0.4"
        case .protobuf: "answered in protobuf, which cannot be joined to the text format; make it answer text/plain; version=0.0.4"
        case .contentEncoding(let coding): "unsupported Content-Encoding \(coding)"
        case .transferEncoding(let coding): "unsupported Transfer-Encoding \(coding)"
        case .bodyTooLarge(let limit): "body larger than body_size_limit (\(limit.bytes) bytes)"
        case .tooMuchInFlight(let limit):
            "the bodies being read together need more than poll_external.max_inflight_size (\(limit.bytes) bytes)"
        case .corruptGzip(let reason): "corrupt gzip body: \(reason)"
        case .truncatedGzip: "gzip body cut short"
        case .invalidUTF8: "body is not valid UTF-8"
        case .nulByte: "body holds a NUL byte"
        case .otherFormat(let format): "the body looks like \(format.rawValue), not like metrics; most applications expose them at /metrics"
        case .containsThisInstance:
            "the answer contains this proxy's own metrics: the two proxies poll each other, directly or through others"
        case .tooManyRedirects(let limit): "more than \(limit) redirects"
        case .invalidRedirect(let reason): "redirect not followed: \(reason)"
        case .stopped: "stopped"
        }
    }

}

extension PollFailure.Phase {
    fileprivate var words: String {
        switch self {
        case .resolving: "while resolving the host name"
        case .connecting: "while connecting"
        case .tunnel: "while waiting for the proxy"
        case .handshake: "during the TLS handshake"
        case .awaitingHead: "while waiting for the response head"
        case .readingBody: "while reading the body"
        }
    }
}

extension PollFailure {
    /// The failure for a connection without a complete response.
    public init(_ error: ClientError) {
        switch error {
        case .response(.malformed(let words)): self = .notHTTP(words)
        case .response(.headTooLarge(let limit)): self = .headTooLarge(limit: ByteCount(limit))
        case .tooManyInformationalResponses: self = .tooManyInformationalResponses
        case .unexpectedBytes: self = .notHTTP("it sent bytes that answer no request")
        case .endedWhileOpening: self = .connectionEnded(.handshake, reason: nil)
        case .endedBeforeHead: self = .connectionEnded(.awaitingHead, reason: nil)
        case .endedWithinBody: self = .connectionEnded(.readingBody, reason: nil)
        }
    }
}

extension PollOutcome {
    /// The outcome of a poll that failed.
    public init(_ failure: PollFailure) { self = .failure(reason: failure.description) }
}

extension Duration {
    /// The seconds as a decimal number of at most millisecond precision: `2`, `0.5`, `1.25`.
    var decimalSeconds: String {
        let (seconds, attoseconds) = components
        let milliseconds = Int(attoseconds / 1_000_000_000_000_000)
        guard milliseconds != 0 else { return String(seconds) }
        var fraction = String(1000 + milliseconds).dropFirst()
        while fraction.last == "0" { fraction.removeLast() }
        return "\(seconds).\(fraction)"
    }
}
