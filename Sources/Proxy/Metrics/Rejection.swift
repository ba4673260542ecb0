public import Exposition
import HTTP

/// Why a push was refused. One declaration gives the `error:` line, the status over HTTP, the log message and the metric's label.
public enum Rejection: Error, Equatable, Sendable {
    /// Not valid JSON, or not an object of strings and arrays of strings; what and at which byte.
    case malformedJSON(String)
    /// Not a valid Cap'n Proto message.
    case malformedCapnp(String)
    /// A request that is not valid HTTP, or asks for what HTTP receivers do not do; the status says which.
    case malformedRequest(status: Int, String)
    /// A body that is said to be gzip and is not; why.
    case malformedGzip(GunzipError)
    /// A push to a group of the Pushgateway's API that cannot be read; what and where.
    case malformedFamilies(String)
    /// One that was read, and says what is not acceptable.
    case inconsistentFamilies(String)
    /// A path that names no group of the Pushgateway's API.
    case invalidGroup(String)
    /// A path that HTTP receivers do not know.
    case unknownPath
    /// A method that the path does not take; the ones that it takes, as in `Allow`.
    case methodNotAllowed(allowed: String)
    /// A `Content-Encoding` that is not known.
    case unsupportedEncoding(String)
    /// A `Content-Type` that names another format than the one that is taken there.
    case unsupportedType(String, taken: String)
    /// A request without the right name and password.
    case unauthorized
    /// A request whose password is not checked, because too many others wait for their check.
    case tooManyPasswords
    /// A request whose `Host` is not in `allowed_hosts`, or that a browser has sent for a page of another site.
    case foreignRequest(status: Int, String)
    /// A message that was sent on a connection made under earlier rules of access.
    case accessChanged
    /// Bytes of another format or protocol than the one expected here.
    case wrongFormat(ForeignBytes, expected: PushFormat)
    /// Plain bytes where only TLS is taken.
    case tlsRequired
    /// A message larger than `max_message_size`.
    case messageTooLarge(limit: ByteCount)
    /// A group of the Pushgateway's API that would take more than its share of `max_inflight_size`.
    case groupTooLarge(limit: ByteCount)
    /// The sender ended within a message.
    case truncated
    /// The sender was too slow within a message.
    case timedOut(Timeout)
    /// An app name that is empty, too long, or has control characters.
    case invalidAppName(String)
    /// Text that is not UTF-8.
    case invalidUTF8(app: String?)
    /// Metrics with a NUL byte, which would hide every other app from Prometheus.
    case nulByte(app: String)
    /// The sender may not push this app (`[[receiver.owners]]`). `owners` names the senders that may.
    case notOwner(app: String, owners: String)
    /// Metrics that Prometheus would not read, where these are refused.
    case invalidMetrics(app: String, Finding)
    /// The store holds `max_apps` apps.
    case tooManyApps(limit: Int)
    /// The store would hold more than `max_total_size`.
    case storeFull(limit: ByteCount)
    /// Incomplete messages would take more than `max_inflight_size`; `nil`: what all connections read would take more than it may.
    case tooMuchInFlight(limit: ByteCount?)

    /// Which of the times of `[receiver]` has passed.
    public enum Timeout: Sendable {
        /// `header_timeout` of `[exporter]`: the head of the request was not complete.
        case head
        /// `idle_timeout`: nothing came for so long.
        case idle
        /// `message_timeout`: the message was not complete so long after its first byte, or over HTTP after the request's head.
        case message
        /// The connection has to close: `shutdown_timeout` after a stop or a move of the receiver, or some time after a change of access.
        case closing
        /// The same, and the message is complete, but waits to be decoded or is being decoded.
        case closingUndecoded
    }

    /// Why, in a word: the label of `exporter_proxy_rejected_messages_total{reason}`.
    public enum Reason: String, CaseIterable, Sendable {
        case malformed
        case wrongFormat = "wrong_format"
        case tlsRequired = "tls_required"
        case tooLarge = "too_large"
        case truncated
        case timedOut = "timed_out"
        case unauthorized
        case invalidName = "invalid_name"
        case invalidUTF8 = "invalid_utf8"
        case nulByte = "nul_byte"
        case notOwner = "not_owner"
        case invalidMetrics = "invalid_metrics"
        case tooManyApps = "too_many_apps"
        case storeFull = "store_full"
        case tooMuchInFlight = "too_much_in_flight"
    }

    /// The status that says so to a client of HTTP.
    public var httpStatus: Int {
        switch self {
        case .unsupportedEncoding, .unsupportedType: 415
        case .foreignRequest(let status, _), .malformedRequest(let status, _): status
        case .unknownPath: 404
        case .methodNotAllowed: 405
        case .tooManyPasswords, .timedOut(.closing), .timedOut(.closingUndecoded): 503
        default:
            switch reason {
            case .malformed, .wrongFormat, .tlsRequired, .truncated, .invalidName, .invalidUTF8, .nulByte, .invalidMetrics: 400
            case .unauthorized: 401
            case .notOwner: 403
            case .timedOut: 408
            case .tooLarge: 413
            case .tooMuchInFlight: 503
            case .tooManyApps, .storeFull: 507
            }
        }
    }

    /// Why, in a word.
    public var reason: Reason {
        switch self {
        case .malformedJSON, .malformedCapnp, .malformedRequest, .methodNotAllowed, .malformedGzip, .malformedFamilies: .malformed
        case .wrongFormat, .unsupportedEncoding, .unsupportedType: .wrongFormat
        case .unauthorized, .tooManyPasswords, .foreignRequest, .accessChanged: .unauthorized
        case .tlsRequired: .tlsRequired
        case .messageTooLarge, .groupTooLarge: .tooLarge
        case .truncated: .truncated
        case .timedOut: .timedOut
        case .invalidAppName, .invalidGroup, .unknownPath: .invalidName
        case .invalidUTF8: .invalidUTF8
        case .nulByte: .nulByte
        case .notOwner: .notOwner
        case .invalidMetrics, .inconsistentFamilies: .invalidMetrics
        case .tooManyApps: .tooManyApps
        case .storeFull: .storeFull
        case .tooMuchInFlight: .tooMuchInFlight
        }
    }

    /// The text after `error: `, for the sender and the log: one printable line without its end.
    public var line: String {
        switch self {
        case .malformedJSON(let what): "malformed JSON: \(Rejection.printable(what, limit: 1000))"
        case .malformedCapnp(let what): "malformed Cap'n Proto message: \(Rejection.printable(what, limit: 1000))"
        case .malformedRequest(_, let what): Rejection.printable(what, limit: 1000)
        case .malformedGzip(let fault): "\(fault)"
        case .malformedFamilies(let what), .inconsistentFamilies(let what), .invalidGroup(let what): Rejection.printable(what, limit: 1000)
        case .unknownPath: "nothing here: GET / says what may be sent"
        case .methodNotAllowed(let allowed): "method not allowed: this path takes \(allowed)"
        case .unsupportedEncoding(let coding):
            "unsupported Content-Encoding \(Rejection.quoted(coding)): send the body uncompressed or as gzip"
        case .unsupportedType(let type, let taken): "unsupported Content-Type \(Rejection.quoted(type)): send \(taken)"
        case .foreignRequest(_, let what): what
        case .unauthorized: "unauthorized: send a user name and password of [receiver.basic_auth_users]"
        case .tooManyPasswords: BasicAuth.busyWords
        case .accessChanged: "the rules of access have changed: what follows the last message was not applied; connect again"
        case .wrongFormat(let found, let expected): Rejection.line(found, expected)
        case .tlsRequired: "this receiver requires TLS (tls = \"required\"): connect with TLS, or change tls"
        case .messageTooLarge(let limit):
            "message is larger than max_message_size (\(limit.bytes) bytes): send smaller messages, or raise max_message_size"
        case .groupTooLarge(let limit):
            "the group would take more than \(limit.bytes) bytes: push to several groups, or raise max_inflight_size"
        case .truncated: "the connection ended within a message: nothing of that message was applied"
        case .timedOut(.head): "the head of the request was not complete within header_timeout: nothing of that message was applied"
        case .timedOut(.idle): "nothing came for idle_timeout within a message: nothing of that message was applied"
        case .timedOut(.message): "the message was not complete within message_timeout: nothing of that message was applied"
        case .timedOut(.closing):
            "the receiver closes, and the message is not complete: nothing of that message was applied; connect again"
        case .timedOut(.closingUndecoded):
            "the receiver closes before the message is decoded: it is not known whether it will be applied; connect again and repeat it"
        case .invalidAppName(let name):
            "invalid app name \(Rejection.quoted(name)): a name has 1 to \(AppName.maxLength) bytes and no control characters"
        case .invalidUTF8(let app?): "the metrics of app \(Rejection.quoted(app)) are not valid UTF-8"
        case .invalidUTF8(nil): "the message is not valid UTF-8"
        case .nulByte(let app):
            "the metrics of app \(Rejection.quoted(app)) hold a NUL byte, which would hide other apps from Prometheus"
        case .notOwner(let app, let owners):
            "app \(Rejection.printable(app, limit: 80)) belongs to \(Rejection.printable(owners, limit: 1000)): push under another name, or as its owner"
        case .invalidMetrics(let app, let finding): "app \(Rejection.printable(app, limit: 80)): \(finding.sentence)"
        case .tooManyApps(let limit):
            "the store already holds max_apps apps (\(limit)): raise max_apps, or push an app that is already stored"
        case .storeFull(let limit):
            "the store would hold more than max_total_size (\(limit.bytes) bytes): push less, or raise max_total_size"
        case .tooMuchInFlight(nil): "requests of all connections that are being read take too much memory: try again later"
        case .tooMuchInFlight(let limit?):
            "incomplete messages of all connections would take more than max_inflight_size (\(limit.bytes) bytes): try again later, or raise max_inflight_size"
        }
    }

    /// Names what was sent, what is taken, and what to do.
    private static func line(_ found: ForeignBytes, _ expected: PushFormat) -> String {
        let (taken, remedy) =
            switch expected {
            case .json: ("JSON (format = \"json\")", "send JSON objects")
            case .capnp: ("Cap'n Proto (format = \"capnp\")", "send unpacked messages with their segment table")
            }
        return switch found {
        case .json: "these bytes look like JSON, but this receiver takes \(taken): \(remedy), or change the format"
        case .capnp: "these bytes look like Cap'n Proto, but this receiver takes \(taken): \(remedy), or change the format"
        case .http:
            "this is an HTTP request, but this port takes \(taken) without HTTP: HTTP is taken at scrape_expose_endpoint (scrapes) and receiver_http_socket (pushes)"
        case .tls:
            "this looks like a TLS handshake, but this receiver takes \(taken) without TLS: send it without TLS, or set tls"
        case .gzip: "these bytes are compressed with gzip, but this receiver takes \(taken) uncompressed: \(remedy)"
        }
    }

    /// Malformed bytes of this format.
    static func malformed(_ format: PushFormat, _ what: String) -> Rejection {
        switch format {
        case .json: .malformedJSON(what)
        case .capnp: .malformedCapnp(what)
        }
    }

    /// A name as messages show it: in quotes, printable, not too long.
    static func quoted(_ name: String) -> String {
        "\"\(printable(name, limit: 80).parts(at: "\"").joined(separator: "\\\""))\""
    }

    /// The text on one line without control characters, cut to `limit` characters.
    private static func printable(_ text: String, limit: Int) -> String { PrintableText(text, limit: limit).text }
}
