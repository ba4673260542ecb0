import HTTP
import NIOCore
import Testing

@testable import Proxy

@Suite("PolledAnswer")
struct PolledAnswerTests {
    private func head(
        _ status: Int = 200, reason: String = "", type: String? = nil, coding: String? = nil, transferCoding: String? = nil,
        location: String? = nil, instances: String? = nil, framing: BodyFraming = .untilEnd
    ) -> ResponseHead {
        var head = ResponseHead(status: status, reason: reason)
        head.contentType = type
        head.contentEncoding = coding
        head.transferEncoding = transferCoding
        head.location = location
        head.instances = instances
        head.framing = framing
        return head
    }

    private func verdict(_ head: ResponseHead) -> PolledAnswer.Verdict { PolledAnswer.verdict(head, followsRedirects: true) }

    private func answer(budget: ByteBudget = ByteBudget()) -> PolledAnswer {
        PolledAnswer(limit: .kibibytes(64), followsRedirects: true, budget: budget, instance: "f00")
    }

    private func words(_ result: PolledAnswer.Result) throws -> String {
        switch result {
        case .body(let body): "body \(String(buffer: try body.exposition(refusingOtherFormats: true).buffer))"
        case .redirect(let location): "redirect \(location)"
        case .failure(let failure): "failure \(failure)"
        }
    }

    // MARK: Heads

    @Test(
        "any type but OpenMetrics and protobuf is text",
        arguments: [
            nil, "text/plain", "text/plain; version=0.0.4", "text/html", "application/json", "application/openmetrics-textual", "",
            "garbage", "text/plain; x=application/openmetrics-text",
        ])
    func text(type: String?) {
        #expect(verdict(head(type: type)) == .read(.identity))
    }

    @Test(
        "OpenMetrics is a failure that says so",
        arguments: [
            "application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8",
            " Application/OpenMetrics-Text ;v=1", "application/openmetrics-text, text/plain",
            "application/openmetrics-text,text/plain;version=0.0.4",
        ])
    func openMetrics(type: String) {
        #expect(verdict(head(type: type)) == .fail(.openMetrics))
        #expect(PollFailure.openMetrics.description.contains("OpenMetrics"))
    }

    @Test(
        "so is protobuf, under each of its names",
        arguments: [
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "application/protobuf",
            "application/x-protobuf", "Application/X-Google-Protobuf ;a=b",
        ])
    func protobuf(type: String) {
        #expect(verdict(head(type: type)) == .fail(.protobuf))
        #expect(PollFailure.protobuf.description.contains("protobuf"))
    }

    @Test(
        "codings: what changes nothing, or is no coding, is passed over",
        arguments: [
            (nil, .read(.identity)), ("", .read(.identity)), ("identity", .read(.identity)), ("Identity ", .read(.identity)),
            ("text/plain", .read(.identity)), ("text/plain; charset=utf-8", .read(.identity)), ("identity, gzip", .read(.gzip)),
            ("gzip", .read(.gzip)), ("GZIP", .read(.gzip)), ("x-gzip ", .read(.gzip)), ("gzip,", .read(.gzip)),
            ("br", .fail(.contentEncoding("br"))), ("gzip, gzip", .fail(.contentEncoding("gzip, gzip"))),
            ("gzip, br", .fail(.contentEncoding("gzip, br"))), ("gzipped", .fail(.contentEncoding("gzipped"))),
            ("deflate", .fail(.contentEncoding("deflate"))),
        ] as [(String?, PolledAnswer.Verdict)])
    func codings(value: String?, expected: PolledAnswer.Verdict) {
        #expect(verdict(head(coding: value)) == expected)
    }

    @Test("a transfer coding other than chunked cannot be read")
    func transferCodings() {
        #expect(verdict(head(transferCoding: "Chunked")) == .read(.identity))
        #expect(verdict(head(transferCoding: "gzip, chunked")) == .fail(.transferEncoding("gzip, chunked")))
    }

    @Test("only 200 will do", arguments: [101, 201, 203, 204, 206, 300, 304, 400, 401, 404, 500, 503])
    func statuses(status: Int) {
        #expect(verdict(head(status, reason: "Words")) == .fail(.status(status, reason: "Words", note: nil)))
    }

    @Test("redirects need a location and the permission to follow")
    func redirects() {
        #expect(verdict(head(302, location: "/x")) == .redirect(location: "/x"))
        for location in [nil, ""] {
            let verdict = verdict(head(302, reason: "Found", location: location))
            #expect(verdict == .fail(.status(302, reason: "Found", note: "without a location")))
        }
        #expect(
            PolledAnswer.verdict(head(302, reason: "Found", location: "/x"), followsRedirects: false)
                == .fail(.status(302, reason: "Found", note: "redirects are not followed")))
    }

    // MARK: Whole answers

    @Test("a body is collected, and carries the instances that its head lists")
    func body() throws {
        var answer = answer()
        #expect(answer.takeHead(head(instances: "a1, b2", framing: .length(7))) == .collectBody)
        #expect(answer.takeBody(ByteBuffer(string: "a 1\n")) == true)
        #expect(answer.takeBody(ByteBuffer(string: "b 2")) == true)
        #expect(answer.certainFailure == nil)
        guard case .body(let body) = answer.complete() else {
            Issue.record("no body")
            return
        }
        let exposition = try body.exposition(refusingOtherFormats: true)
        #expect(String(buffer: exposition.buffer) == "a 1\nb 2\n" && exposition.instances == ["a1", "b2"])
    }

    @Test("an answer that contains this instance is a failure", arguments: ["f00", "a1,f00", "a1, f00 , b2"])
    func ownInstance(instances: String) throws {
        var answer = answer()
        #expect(answer.takeHead(head(instances: instances)) == .stop)
        #expect(answer.certainFailure == .containsThisInstance)
        #expect(
            try words(answer.complete())
                == "failure the answer contains this proxy's own metrics: the two proxies poll each other, directly or through others")
    }

    @Test("another instance's answer is taken", arguments: ["f0", "f000", "F00", ""])
    func otherInstance(instances: String) {
        var answer = answer()
        #expect(answer.takeHead(head(instances: instances)) == .collectBody)
    }

    @Test("a body too large, by its length or by what comes, needs no more bytes")
    func tooLarge() throws {
        var answer = answer()
        #expect(answer.takeHead(head(framing: .length((64 << 10) + 1))) == .stop)
        #expect(try words(answer.complete()) == "failure body larger than body_size_limit (65536 bytes)")
        answer = self.answer()
        #expect(answer.takeHead(head()) == .collectBody)
        #expect(answer.takeBody(ByteBuffer(repeating: 0x20, count: 64 << 10)) == true)
        #expect(answer.takeBody(ByteBuffer(string: "x")) == false)
        #expect(try words(answer.complete()) == "failure body larger than body_size_limit (65536 bytes)")
    }

    @Test("a body beyond the budget needs no more bytes, and holds nothing")
    func budget() throws {
        let budget = ByteBudget(limit: .kibibytes(8))
        var answer = answer(budget: budget)
        #expect(answer.takeHead(head()) == .collectBody)
        #expect(answer.takeBody(ByteBuffer(repeating: 0x20, count: 25 << 10)) == false)
        #expect(budget.used == 0)
        #expect(try words(answer.complete()).contains("poll_external.max_inflight_size (8192 bytes)"))
    }

    @Test("an answer that breaks off: what is certain stays, an incomplete body says so")
    func brokenOff() throws {
        let reset = PollFailure.connectionEnded(.readingBody, reason: "connection reset by peer")
        let ended = PollFailure.connectionEnded(.readingBody, reason: nil)
        var answer = answer()
        #expect(try words(answer.brokenOff(by: .connectionRefused, isFramed: false)) == "failure connection refused")
        #expect(answer.takeHead(head(framing: .length(10))) == .collectBody)
        #expect(answer.takeBody(ByteBuffer(string: "a 1\n")) == true)
        #expect(try words(answer.brokenOff(by: ended, isFramed: true)) == "failure incomplete body: 4 of 10 bytes")
        #expect(try words(answer.brokenOff(by: .truncatedByPeer, isFramed: true)) == "failure incomplete body: 4 of 10 bytes")
        #expect(try words(answer.brokenOff(by: reset, isFramed: true)) == "failure \(reset)")
        #expect(try words(answer.brokenOff(by: .truncatedByPeer, isFramed: false)) == "failure \(PollFailure.truncatedByPeer)")
        answer = self.answer()
        #expect(answer.takeHead(head(503, reason: "X")) == .discardBody)
        #expect(try words(answer.brokenOff(by: ended, isFramed: true)) == "failure status 503 X")
        answer = self.answer()
        #expect(answer.takeHead(head(302, location: "/x")) == .discardBody)
        #expect(try words(answer.brokenOff(by: reset, isFramed: true)) == "redirect /x")
    }
}
