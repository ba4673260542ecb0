import Foundation
import TestSupport
import Testing

@Test("after a rotation new handshakes get the new certificate, and open connections live on")
func aCertificateRotationSparesConnections() async throws {
    try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { proxy in
        try await HeldTLSConnection.with(proxy) { held in
            #expect(try await held.ask() == "exporter-proxy is healthy")
            let before = try await fingerprint(proxy)
            // As cert-manager does: certificate and key one after the other; the moment between them must do no harm.
            try await withTemporaryFolder { folder in
                try await ProxyProcess.makeCertificates(in: folder)
                for name in ["server.pem", "server-key.pem", "ca.pem"] {
                    try FileManager.default.removeItem(atPath: proxy.folder.path("certs/\(name)"))
                    try FileManager.default.copyItem(atPath: folder.path("certs/\(name)"), toPath: proxy.folder.path("certs/\(name)"))
                }
            }
            try await wait(for: "the new certificate") { try await fingerprint(proxy) != before }
            #expect(try await curl("https://localhost:\(proxy.scrapePort)/-/healthy", ["--cacert", proxy.caFile]).status == 200)
            #expect(try await held.ask() == "exporter-proxy is healthy")
        }
    }
}

private func fingerprint(_ proxy: ProxyProcess) async throws -> String {
    let script = "openssl s_client -connect \(proxy.scrape) </dev/null 2>/dev/null | openssl x509 -noout -fingerprint"
    return try await run("sh", ["-c", script]).output
}

@Test("tightening tls ends connections made before, an exchange in flight only after its answer")
func tighteningEndsConnections() async throws {
    let config =
        Configurations.scrape(tls: "optional").replacing("[exporter]\n", with: "[exporter]\n" + Configurations.patience)
        + Configurations.receivers(format: "json", "idle_timeout = \"10m\"")
    try await withProxy(config, certificates: true) { proxy in
        let idle = try RawConnection(to: proxy.scrape)
        #expect(try await idle.get("/-/healthy").status == 200)
        let fresh = try RawConnection(to: proxy.scrape)
        let asking = try RawConnection(to: proxy.scrape)
        try asking.send("GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n")
        let unix = try RawConnection(to: proxy.unixSocket ?? "")
        // Known to be taken: the same listener has answered a later one.
        #expect(try await RawConnection(to: proxy.scrape).get("/-/healthy").status == 200)
        try await proxy.save(config.replacing("tls = \"optional\"", with: "tls = \"required\""))
        try await wait(for: "the log") { proxy.log.contains("exporter.tls: optional -> required") }
        try await wait(for: "the idle connection to end") { try idle.isEnded }
        try await wait(for: "the fresh connection to end") { try fresh.isEnded }
        try asking.send("\r\n")
        let answer = try await asking.response()
        #expect(answer.status == 200)
        #expect(answer.head.lowercased().contains("connection: close"))
        try await wait(for: "the asking connection to end") { try asking.isEnded }
        // The Unix socket knows no TLS: its connections are none of this.
        try unix.send(#"{"a": "x 1"}"#)
        unix.endOutput()
        #expect(try await unix.receiveToEnd() == "")
        #expect(try await curl("http://\(proxy.scrape)/-/healthy").status == 400)
        #expect(try await curl("https://localhost:\(proxy.scrapePort)/-/healthy", ["--cacert", proxy.caFile]).status == 200)
    }
}
