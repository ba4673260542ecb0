import Foundation
import TestSupport
import Testing

/// A listener that insists on certificates of the development authority.
private let mutual = Configurations.scrape(
    tls: "required", "client_auth_type = \"RequireAndVerifyClientCert\"\nclient_ca_file = \"certs/ca.pem\"")

@Test("curl scrapes with its certificate and not without, by TLS 1.2 and 1.3", arguments: ["1.2", "1.3"])
func curlScrapesWithItsCertificate(version: String) async throws {
    try await withProxy(mutual, certificates: true) { proxy in
        let url = "https://localhost:\(proxy.scrapePort)/metrics"
        let common = ["--cacert", proxy.caFile, "--ipv4", "--tlsv\(version)", "--tls-max", version]
        let certificate = ["--cert", proxy.folder.path("certs/client.pem"), "--key", proxy.folder.path("certs/client-key.pem")]
        #expect(try await curl(url, common + certificate).status == 200)
        #expect(try await runCurl(common + [url]).succeeded == false)
        // A health check is no exception: the handshake comes first.
        #expect(try await runCurl(common + ["https://localhost:\(proxy.scrapePort)/-/healthy"]).succeeded == false)
        let foreign = try ThrowawayCA().clientCertificate()
        try foreign.write(to: URL(fileURLWithPath: proxy.folder.path), name: "foreign")
        let stranger = ["--cert", proxy.folder.path("foreign.pem"), "--key", proxy.folder.path("foreign.key")]
        #expect(try await runCurl(common + stranger + [url]).succeeded == false)
    }
}

@Test("a revoked client is refused with the alert that says so, the others are served; s_client sees whom the proxy asks for")
func aRevokedClientIsRefused() async throws {
    let ca = try ThrowawayCA()
    let revoked = try ca.clientCertificate()
    let config = mutual.replacing("certs/ca.pem", with: "clients.pem") + "client_crl_file = \"clients.crl\"\n"
    try await withProxy(config, certificates: true) { folder in
        try folder.write("clients.pem", ca.certificatePEM)
        try folder.write("clients.crl", ca.revocationList(revoking: [revoked]))
        let home = URL(fileURLWithPath: folder.path)
        try revoked.write(to: home, name: "revoked")
        try ca.clientCertificate().write(to: home, name: "good")
    } _: { proxy in
        func sClient(_ name: String) async throws -> ProgramResult {
            let arguments = [
                "s_client", "-connect", "127.0.0.1:\(proxy.scrapePort)", "-CAfile", proxy.caFile, "-cert", proxy.folder.path("\(name).pem"),
                "-key", proxy.folder.path("\(name).key"), "-ign_eof",
            ]
            return try await run(
                "openssl", arguments, input: Array("GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".utf8))
        }
        let good = try await sClient("good")
        #expect(good.output.contains("HTTP/1.1 200 OK"), "\(good.output) \(good.errors)")
        #expect(good.output.contains("Acceptable client certificate CA names\nCN = Throwaway CA"), "\(good.output)")
        let refused = try await sClient("revoked")
        #expect(!refused.output.contains("HTTP/1.1 200 OK"))
        #expect(refused.errors.contains("certificate revoked"), "\(refused.errors)")
        try await wait(for: "the refusal in the log") { proxy.log.contains("certificate_revoked") ? true : nil }
    }
}

@Test("a name of the client's certificate lets in, another does not")
func aNameLetsIn() async throws {
    let names = "client_allowed_sans = [\"other.example\", \"NAME\"]\n"
    for (name, isIn) in [("exporter-proxy-client", true), ("exporter-proxy-clients", false)] {
        try await withProxy(mutual + names.replacing("NAME", with: name), certificates: true) { proxy in
            let result = try await runCurl([
                "--cacert", proxy.caFile, "--ipv4", "--cert", proxy.folder.path("certs/client.pem"), "--key",
                proxy.folder.path("certs/client-key.pem"), "https://localhost:\(proxy.scrapePort)/-/healthy",
            ])
            #expect(result.succeeded == isIn, "\(name)")
        }
    }
}

@Test("the TCP receiver takes pushes of Python's ssl with a certificate, none without")
func theReceiverAsksForCertificates() async throws {
    let config =
        Configurations.scrape + """
            [receiver]
            receive_on_tcp_socket = true
            receiver_tcp_socket = "127.0.0.1:0"
            [receiver.tls_server_config]
            cert_file = "certs/server.pem"
            key_file = "certs/server-key.pem"
            client_auth_type = "RequireAndVerifyClientCert"
            client_ca_file = "certs/ca.pem"

            """
    try await withProxy(config, certificates: true) { proxy in
        // Prints what the proxy said until it ended.
        let script = """
            import socket, ssl, sys
            port, certs, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
            context = ssl.create_default_context(cafile=certs + "/ca.pem")
            if name: context.load_cert_chain(certs + "/client.pem", certs + "/client-key.pem")
            with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as tls:
                # In TLS 1.3 a client hears of its refusal when it reads.
                if not name: tls.recv(1)
                tls.sendall(b'{"' + name.encode() + b'": "pushed 1"}')
                tls.unwrap()
            """
        let arguments = ["-c", script, proxy.tcpPort, proxy.folder.path("certs")]
        let pushed = try await run(Tools.python, arguments + ["app"])
        #expect(pushed.succeeded, "\(pushed.errors)")
        let refused = try await run(Tools.python, arguments + [""])
        #expect(!refused.succeeded && refused.errors.contains("CERTIFICATE_REQUIRED"), "\(refused.errors)")
        let metrics = try await curl("http://\(proxy.scrape)/apps")
        #expect(metrics.body.contains("| app "), "\(metrics.body)")
    }
}

@Test("Python's ssl and s_client resume their sessions, a connection with another rule does not", arguments: ["-tls1_2", "-tls1_3"])
func sessionsAreResumed(version: String) async throws {
    try await withProxy(mutual, certificates: true) { proxy in
        func connect(_ options: [String]) async throws -> String {
            let arguments = [
                "s_client", "-connect", "127.0.0.1:\(proxy.scrapePort)", "-CAfile", proxy.caFile, "-cert",
                proxy.folder.path("certs/client.pem"),
                "-key", proxy.folder.path("certs/client-key.pem"), version, "-ign_eof",
            ]
            let request = Array("GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".utf8)
            return try await run("openssl", arguments + options, input: request).output
        }
        let session = proxy.folder.path("session")
        #expect(try await connect(["-sess_out", session]).contains("New, TLSv1."))
        let resumed = try await connect(["-sess_in", session])
        #expect(resumed.contains("Reused, TLSv1.") && resumed.contains("HTTP/1.1 200 OK"), "\(resumed)")
    }
}
