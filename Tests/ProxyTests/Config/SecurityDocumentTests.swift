import Foundation
import Testing

@testable import Proxy

/// The hardened configuration in `docs/security.md` is one that works.
struct SecurityDocumentTests {
    private static func example() throws -> String {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 1...4 { url.deleteLastPathComponent() }
        let text = try String(contentsOf: url.appendingPathComponent("docs/security.md"), encoding: .utf8)
        let start = try #require(text.range(of: "```toml\n")).upperBound
        let end = try #require(text.range(of: "```", range: start..<text.endIndex)).lowerBound
        return String(text[start..<end])
    }

    @Test("it decodes without a warning, and is as hard as it says")
    func decodes() throws {
        let loaded = try ConfigDecoder(file: "config.toml", folder: "/").decode(FileReading(bytes: Array(Self.example().utf8)))
        #expect(loaded.warnings == [])
        let exporter = loaded.config.exporter
        guard case .required(let tls) = exporter.tls else {
            Issue.record("TLS is not required")
            return
        }
        #expect(tls.clients.authType == .requireAndVerifyClientCert)
        #expect(tls.minVersion == .tls13)
        #expect(tls.clients.allowedSANs == ["prometheus.example.org"])
        #expect(tls.clients.crlFile != nil)
        #expect(exporter.basicAuthUsers.keys.sorted() == ["prometheus"])
        #expect(loaded.config.receiver.tcpSocket == nil)
        #expect(loaded.config.poll.targets.allSatisfy { !$0.followRedirects && !$0.tls.insecureSkipVerify })
    }
}
