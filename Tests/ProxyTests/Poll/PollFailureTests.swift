import Testing

@testable import Proxy

@Suite("PollFailure")
struct PollFailureTests {
    @Test(
        "reasons read well and stay the same",
        arguments: [
            (PollFailure.connectionRefused, "connection refused"),
            (.timedOut(after: .seconds(2), .connecting), "timed out after 2s while connecting"),
            (.timedOut(after: .milliseconds(500), .awaitingHead), "timed out after 0.5s while waiting for the response head"),
            (.timedOut(after: .seconds(90), .readingBody), "timed out after 90s while reading the body"),
            (.status(503, reason: "Service Unavailable", note: nil), "status 503 Service Unavailable"),
            (.status(599, reason: "", note: nil), "status 599"),
            (.status(302, reason: "Found", note: "without a location"), "status 302 Found (without a location)"),
            (.bodyTooLarge(limit: .mebibytes(64)), "body larger than body_size_limit (67108864 bytes)"),
            (.couldNotResolve(host: "h", reason: "name or service not known"), "could not resolve host h: name or service not known"),
            (.incompleteBody(received: 3, expected: 10), "incomplete body: 3 of 10 bytes"),
            (.connectionEnded(.awaitingHead, reason: nil), "connection closed by the target while waiting for the response head"),
            (.connectionEnded(.tunnel, reason: nil), "connection closed by the proxy before it answered CONNECT"),
        ])
    func words(failure: PollFailure, expected: String) {
        #expect(failure.description == expected)
    }

    @Test("a peer's words cannot forge a line, nor fill the log")
    func printable() {
        #expect(
            PollFailure.tlsFailed("a\r\nb\u{1B}[31m\u{85}\u{2028}").description == "a\\u{D}\\u{A}b\\u{1B}[31m\\u{85}\\u{2028}")
        #expect(PollFailure.tlsFailed(String(repeating: "é", count: 10_000)).description.count == PollFailure.maxLength + 1)
    }

    @Test("a failure becomes an outcome with its words")
    func outcome() {
        guard case .failure(let reason) = PollOutcome(.nulByte) else {
            Issue.record("not a failure")
            return
        }
        #expect(reason == "body holds a NUL byte")
    }
}
