/// Why a push was refused. Gives the `error:` line, the log message and the metric's `reason` label from one declaration.
public enum Rejection: Error, Equatable, Sendable {
    /// Not valid JSON, or not an object of strings and arrays of strings; what and at which byte.
    case malformedJSON(String)
    /// Not a valid Cap'n Proto message.
    case malformedCapnp(String)
    /// The other format's bytes: what is expected here.
    case wrongFormat(expected: PushFormat)
    /// Plain bytes where only TLS is taken.
    case tlsRequired
    /// A message larger than `max_message_size`.
    case messageTooLarge(limit: ByteCount)
    /// The sender ended within a message.
    case truncated
    /// Nothing came for `idle_timeout` within a message.
    case timedOut
    /// An app name that is empty, too long, or has control characters.
    case invalidAppName(String)
    /// Text that is not UTF-8.
    case invalidUTF8(app: String?)
    /// Metrics with a NUL byte, which would hide every other app from Prometheus.
    case nulByte(app: String)
    /// The store holds `max_apps` apps.
    case tooManyApps(limit: Int)
    /// The store would hold more than `max_total_size`.
    case storeFull(limit: ByteCount)
    /// Incomplete messages would take more than `max_inflight_size`.
    case tooMuchInFlight(limit: ByteCount)

    /// The label of `exporter_proxy_rejected_messages_total{reason}`: one of a fixed set of words.
    public var reason: String {
        switch self {
        case .malformedJSON, .malformedCapnp: "malformed"
        case .wrongFormat: "wrong_format"
        case .tlsRequired: "tls_required"
        case .messageTooLarge: "too_large"
        case .truncated: "truncated"
        case .timedOut: "timed_out"
        case .invalidAppName: "invalid_name"
        case .invalidUTF8: "invalid_utf8"
        case .nulByte: "nul_byte"
        case .tooManyApps: "too_many_apps"
        case .storeFull: "store_full"
        case .tooMuchInFlight: "too_much_in_flight"
        }
    }

    /// Every word that `reason` can be.
    public static let reasons = [
        "invalid_name", "invalid_utf8", "malformed", "nul_byte", "store_full", "timed_out", "tls_required", "too_large", "too_many_apps",
        "too_much_in_flight", "truncated", "wrong_format",
    ]

    /// What follows `error: `, for the sender and the log: one line without its end, whatever the sender sent.
    public var line: String {
        switch self {
        case .malformedJSON(let what): "malformed JSON: \(Rejection.printable(what, limit: 1000))"
        case .malformedCapnp(let what): "malformed Cap'n Proto message: \(Rejection.printable(what, limit: 1000))"
        case .wrongFormat(expected: .json):
            "these bytes look like Cap'n Proto, but this receiver takes JSON (format = \"json\"): send JSON objects, or change the format"
        case .wrongFormat(expected: .capnp):
            "these bytes are not Cap'n Proto, but this receiver takes nothing else (format = \"capnp\"): send unpacked messages with their segment table, or change the format"
        case .tlsRequired: "this receiver takes TLS alone (tls = \"required\"): send the same in TLS, or change that"
        case .messageTooLarge(let limit):
            "message is larger than max_message_size (\(limit.bytes) bytes): send smaller messages, or raise it"
        case .truncated: "the connection ended within a message: nothing of that message was applied"
        case .timedOut: "nothing came for idle_timeout within a message: nothing of that message was applied"
        case .invalidAppName(let name):
            "invalid app name \(Rejection.quoted(name)): a name has 1 to \(AppName.maxLength) bytes and no control characters"
        case .invalidUTF8(let app?): "the metrics of app \(Rejection.quoted(app)) are not valid UTF-8"
        case .invalidUTF8(nil): "the message is not valid UTF-8"
        case .nulByte(let app):
            "the metrics of app \(Rejection.quoted(app)) hold a NUL byte, which would hide other apps from Prometheus"
        case .tooManyApps(let limit): "the store already holds max_apps apps (\(limit)): raise it, or push under a name that is there"
        case .storeFull(let limit):
            "the store would hold more than max_total_size (\(limit.bytes) bytes): push less, or raise it"
        case .tooMuchInFlight(let limit):
            "incomplete messages of all connections would take more than max_inflight_size (\(limit.bytes) bytes): try again later, or raise it"
        }
    }

    /// A name as messages show it: in quotes, printable, not too long.
    static func quoted(_ name: String) -> String {
        "\"\(printable(name, limit: 80).replacingQuotes())\""
    }

    /// The text without control characters and line breaks, cut to about `limit` characters.
    private static func printable(_ text: String, limit: Int) -> String {
        var result = ""
        for (count, scalar) in text.unicodeScalars.enumerated() {
            guard count < limit else { return result + "…" }
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator:
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension String {
    /// With a backslash before each quote.
    fileprivate func replacingQuotes() -> String {
        reduce(into: "") { $0 += $1 == "\"" ? "\\\"" : String($1) }
    }
}
