import Exposition
import Testing

@testable import Proxy

@Suite("Rejection")
struct RejectionTests {
    /// One of each case, with text that came from outside wherever a case has some.
    static let all: [Rejection] = [
        .malformedJSON(hostile), .malformedCapnp(hostile), .wrongFormat(.http, expected: .json), .wrongFormat(.json, expected: .capnp),
        .malformedRequest(status: 431, hostile), .malformedGzip(.corrupt), .malformedFamilies(hostile), .inconsistentFamilies(hostile),
        .invalidGroup(hostile), .unsupportedEncoding(hostile), .unsupportedType(hostile, taken: "JSON"), .unauthorized, .accessChanged,
        .tooManyPasswords, .unknownPath, .methodNotAllowed(allowed: "PUT, DELETE"),
        .messageTooLarge(limit: .mebibytes(16)), .groupTooLarge(limit: .mebibytes(16)), .tlsRequired, .truncated,
        .timedOut(.head), .timedOut(.idle), .timedOut(.message), .timedOut(.closing), .timedOut(.closingUndecoded),
        .invalidAppName(hostile),
        .invalidUTF8(app: hostile),
        .invalidUTF8(app: nil),
        .nulByte(app: hostile), .notOwner(app: hostile, owners: hostile),
        .invalidMetrics(app: hostile, Finding(severity: .error, line: 3, column: 9, message: "expected a value")), .tooManyApps(limit: 5),
        .storeFull(limit: .kibibytes(1)),
        .tooMuchInFlight(limit: ByteCount(7)), .tooMuchInFlight(limit: nil),
    ]
    static let hostile = "a\"b\r\nerror: \u{1B}[2J\0\u{202E}\u{2028}" + String(repeating: "x", count: 5000)

    @Test("a line is one line, printable and short, whatever the sender sent", arguments: all.indices)
    func line(index: Int) {
        let rejection = Self.all[index]
        #expect(!rejection.line.isEmpty)
        #expect(rejection.line.utf8.count < 1500)
        let isShown = rejection.line.unicodeScalars.allSatisfy { $0.isSafeToPrint }
        #expect(isShown)
    }

    @Test("reasons are words for a label, fixed for each case", arguments: all.indices)
    func reason(index: Int) {
        #expect(Self.all[index].reason.rawValue.wholeMatch(of: #/[a-z][a-z0-9_]*/#) != nil)
    }

    @Test("every reason has a case, and a status for clients of HTTP")
    func reasons() {
        #expect(Set(Self.all.map(\.reason)) == Set(Rejection.Reason.allCases))
        for one in Self.all { #expect([400, 401, 403, 404, 405, 408, 413, 415, 431, 503, 507].contains(one.httpStatus)) }
        #expect(Rejection.unsupportedEncoding("br").httpStatus == 415)
        #expect(Rejection.storeFull(limit: ByteCount(1)).httpStatus == 507)
        #expect(Rejection.timedOut(.message).httpStatus == 408)
        #expect(Rejection.timedOut(.closing).httpStatus == 503 && Rejection.timedOut(.closingUndecoded).httpStatus == 503)
        for timeout in [Rejection.Timeout.head, .idle, .message] { #expect(Rejection.timedOut(timeout).reason == .timedOut) }
        #expect(Rejection.malformedRequest(status: 431, "").httpStatus == 431)
        #expect(Rejection.unknownPath.httpStatus == 404)
        #expect(Rejection.methodNotAllowed(allowed: "POST").httpStatus == 405)
        #expect(Rejection.tooManyPasswords.httpStatus == 503 && Rejection.tooManyPasswords.reason == .unauthorized)
        #expect(Rejection.messageTooLarge(limit: ByteCount(1)).httpStatus == 413)
        #expect(Rejection.tooMuchInFlight(limit: ByteCount(1)).httpStatus == 503)
    }

    @Test("a line says what to do, with the limit that was passed")
    func advice() {
        #expect(Rejection.messageTooLarge(limit: .kibibytes(64)).line.contains("65536"))
        // Not only text counts.
        let tooLarge = "the group would take more than 9 bytes: push to several groups, or raise max_inflight_size"
        #expect(Rejection.groupTooLarge(limit: ByteCount(9)).line == tooLarge)
        #expect(Rejection.tooManyApps(limit: 5).line.contains("max_apps"))
        #expect(Rejection.storeFull(limit: ByteCount(9)).line.contains("max_total_size (9 bytes)"))
        #expect(Rejection.tooMuchInFlight(limit: ByteCount(9)).line.contains("max_inflight_size (9 bytes)"))
        #expect(Rejection.wrongFormat(.capnp, expected: .json).line.contains("format"))
        #expect(Rejection.invalidAppName("a\"\nb").line.hasPrefix(#"invalid app name "a\"\u{A}b""#))
    }
}
