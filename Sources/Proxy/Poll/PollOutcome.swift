public import HTTP

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
    /// The longest reason, in bytes; it may contain text of the peer.
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
