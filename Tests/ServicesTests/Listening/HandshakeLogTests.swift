import Foundation
import Logging
import NIOCore
import NIOEmbedded
import TLS
import Testing

@testable import Proxy
@testable import Services

@Suite("HandshakeLog")
struct HandshakeLogTests {
    @Test("each reason is told at most once a minute, with the number of those not told; all are counted")
    func quiet() {
        let lines = LogLines()
        let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
        let listener = metrics.addListener("127.0.0.1:1", .scrape)
        let log = HandshakeLog(metrics: listener, logger: lines.logger)
        let channel = EmbeddedChannel()
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
        func end(_ failure: TLSHandshakeFailure?, _ seconds: Int64) { log.ended(failure, channel: channel, at: start + .seconds(seconds)) }
        end(.timeout, 0)
        end(nil, 0)
        end(.timeout, 1)
        end(.certificateExpired, 1)
        end(.timeout, 59)
        end(.timeout, 60)
        end(.timeout, 61)
        #expect(
            lines.all == [
                "info TLS handshake failed peer=unknown reason=timeout",
                "info TLS handshake failed peer=unknown reason=certificate_expired",
                "info TLS handshake failed peer=unknown reason=timeout suppressed=2",
            ])
        let counts = listener.tlsSample()
        #expect(counts.handshakes.map(\.value) == [1, 6])
        #expect(counts.failures.map(\.value) == [1, 5])
    }

    @Test("the document lists every reason")
    func documented() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../docs/metrics.md")
        let text = try String(contentsOf: file.standardized, encoding: .utf8)
        for failure in TLSHandshakeFailure.allCases { #expect(text.contains("`\(failure.word)`"), "\(failure.word)") }
    }
}
