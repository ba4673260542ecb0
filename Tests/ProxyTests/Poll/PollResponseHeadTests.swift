import Testing

@testable import Proxy

@Suite("PollResponseHead")
struct PollResponseHeadTests {
    private func verdict(_ head: PollResponseHead) -> PollResponseHead.Verdict { head.verdict(followingRedirects: true) }

    @Test(
        "any type but OpenMetrics and protobuf is text",
        arguments: [
            nil, "text/plain", "text/plain; version=0.0.4", "text/html", "application/json", "application/openmetrics-textual", "",
            "garbage",
            "text/plain; x=application/openmetrics-text",
        ])
    func text(type: String?) {
        #expect(verdict(.init(status: 200, contentType: type)) == .read(.identity))
    }

    @Test(
        "OpenMetrics is a failure that says so",
        arguments: [
            "application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8",
            " Application/OpenMetrics-Text ;v=1",
        ])
    func openMetrics(type: String) {
        #expect(verdict(.init(status: 200, contentType: type)) == .fail(.openMetrics))
        #expect(PollFailure.openMetrics.description.contains("OpenMetrics"))
    }

    @Test("so is protobuf")
    func protobuf() {
        let type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        #expect(verdict(.init(status: 200, contentType: type)) == .fail(.protobuf))
        #expect(PollFailure.protobuf.description.contains("protobuf"))
    }

    @Test(
        "codings",
        arguments: [
            (nil, .read(.identity)), ("", .read(.identity)), ("identity", .read(.identity)), ("gzip", .read(.gzip)), ("GZIP", .read(.gzip)),
            ("x-gzip ", .read(.gzip)), ("br", .fail(.contentEncoding("br"))), ("gzip, gzip", .fail(.contentEncoding("gzip, gzip"))),
            ("gzipped", .fail(.contentEncoding("gzipped"))),
        ] as [(String?, PollResponseHead.Verdict)])
    func codings(value: String?, expected: PollResponseHead.Verdict) {
        #expect(verdict(.init(status: 200, contentEncoding: value)) == expected)
    }

    @Test("a transfer coding other than chunked cannot be read")
    func transferCodings() {
        #expect(verdict(.init(status: 200, transferEncoding: "Chunked")) == .read(.identity))
        #expect(verdict(.init(status: 200, transferEncoding: "gzip, chunked")) == .fail(.transferEncoding("gzip, chunked")))
    }

    @Test("only 200 will do", arguments: [101, 201, 203, 204, 206, 300, 304, 400, 401, 404, 500, 503])
    func statuses(status: Int) {
        #expect(verdict(.init(status: status, reason: "Words")) == .fail(.status(status, reason: "Words", note: nil)))
    }

    @Test("redirects need a location and the permission to follow")
    func redirects() {
        #expect(verdict(.init(status: 302, location: "/x")) == .redirect(location: "/x"))
        #expect(verdict(.init(status: 302, reason: "Found")) == .fail(.status(302, reason: "Found", note: "without a location")))
        #expect(
            PollResponseHead(status: 302, reason: "Found", location: "/x").verdict(followingRedirects: false)
                == .fail(.status(302, reason: "Found", note: "redirects are not followed")))
    }
}
