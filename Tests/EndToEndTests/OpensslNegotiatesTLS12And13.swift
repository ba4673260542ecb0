import TestSupport
import Testing

@Test("openssl s_client negotiates TLS 1.2 and TLS 1.3, with ALPN http/1.1 and a verified certificate", arguments: ["TLSv1.2", "TLSv1.3"])
func opensslNegotiates(version: String) async throws {
    try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { proxy in
        let option = version == "TLSv1.2" ? "-tls1_2" : "-tls1_3"
        let result = try await sClient(proxy, [option, "-alpn", "h2,http/1.1"])
        #expect(result.succeeded, "\(result.errors)")
        #expect(result.output.contains("New, \(version), Cipher is"))
        #expect(result.output.contains("ALPN protocol: http/1.1"))
        #expect(result.output.contains("Verify return code: 0 (ok)"))
        #expect(result.output.contains("HTTP/1.1 200 OK"))
    }
}

@Test(
    "what min_version and max_version leave out is refused",
    arguments: [("min_version = \"TLS13\"", "-tls1_2"), ("max_version = \"TLS12\"", "-tls1_3")])
func opensslIsRefusedOtherVersions(limit: String, option: String) async throws {
    try await withProxy(Configurations.scrape(tls: "required", limit), certificates: true) { proxy in
        let result = try await sClient(proxy, [option])
        #expect(result.output.contains("HTTP/1.1 200 OK") == false)
        #expect(result.errors.contains("protocol version"), "\(result.errors)")
    }
}

@Test("the connection ends with close_notify, so that an answer cut short could be told")
func opensslSeesCloseNotify() async throws {
    try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { proxy in
        let result = try await sClient(proxy, ["-msg"])
        #expect(result.output.contains("<<< TLS 1.3, Alert [length 0002], warning close_notify"), "\(result.output)")
    }
}

/// Asks for /-/healthy by `openssl s_client` and waits until the proxy closes.
private func sClient(_ proxy: ProxyProcess, _ options: [String]) async throws -> ProgramResult {
    let request = Array("GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8)
    let arguments =
        [
            "s_client", "-connect", "127.0.0.1:\(proxy.scrapePort)", "-servername", "localhost", "-verify_hostname", "localhost", "-CAfile",
            proxy.caFile, "-ign_eof",
        ]
    return try await run("openssl", arguments + options, input: request)
}
