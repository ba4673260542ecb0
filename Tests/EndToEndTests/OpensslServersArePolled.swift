import Foundation
import TestSupport
import Testing

@Test(
    "targets that speak only what Prometheus still reads are polled: CBC, RSA key exchange, P-521",
    arguments: [
        ("ECDHE-RSA-AES128-SHA", ThrowawayCA.KeyKind.rsa), ("ECDHE-RSA-AES256-SHA", .rsa), ("AES128-GCM-SHA256", .rsa),
        ("AES256-SHA", .rsa),
        ("ECDHE-ECDSA-AES128-SHA", .p521), ("ECDHE-ECDSA-AES128-GCM-SHA256", .p521),
    ])
func oldServersArePolled(suite: String, key: ThrowawayCA.KeyKind) async throws {
    try await withTemporaryFolder { folder in
        let ca = try ThrowawayCA()
        try folder.write("ca.pem", ca.certificatePEM)
        try ca.serverCertificate(key: key).write(to: URL(fileURLWithPath: folder.path), name: "server")
        try folder.write("page", "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nserved 1\n")
        let arguments =
            ["s_server", "-accept", "127.0.0.1:0", "-HTTP", "-cert", "server.pem", "-key", "server.key", "-tls1_2", "-cipher", suite]
        try await withProgram("openssl", arguments, workingFolder: folder.path) { server in
            let port = try await portOfServer(server)
            let config = Configurations.scrape + Configurations.polledOnce
            let target = """
                [[poll_external.targets]]
                url = "https://localhost:\(port)/page"
                name = "old"
                tls_config = { ca_file = "\(folder.path("ca.pem"))" }

                """
            try await withProxy(config + target) { proxy in
                try await waitUntilReady(proxy)
                let answer = try await curl("http://\(proxy.scrape)/metrics?app=old")
                #expect(answer.body == "served 1\n", "\(answer)\(proxy.log)")
            }
        }
    }
}

private func portOfServer(_ server: RunningProgram) async throws -> String {
    try await wait(for: "the port of s_server") {
        // "ACCEPT 127.0.0.1:40123"
        String(decoding: server.outputBytes, as: UTF8.self).split(separator: "\n")
            .first { $0.hasPrefix("ACCEPT 127.0.0.1:") }?.split(separator: ":").last.map(String.init)
    }
}

@Test(
    "openssl s_server that insists on a client certificate is polled in TLS 1.2 and 1.3, with one; without, the alert is told",
    arguments: [("-tls1_2", "handshake failure"), ("-tls1_3", "certificate required")])
func opensslServersArePolled(version: String, alert: String) async throws {
    try await withTemporaryFolder { folder in
        try await ProxyProcess.makeCertificates(in: folder)
        // A whole answer: with -HTTP the server sends files as they are, by the whole request target as their name.
        try folder.write("page?known", "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nserved 1\n")
        let arguments =
            ["s_server", "-accept", "127.0.0.1:0", "-HTTP", "-cert", "certs/server.pem", "-key", "certs/server-key.pem"]
            + ["-CAfile", "certs/ca.pem", "-Verify", "2", "-verify_return_error", version]
        try await withProgram("openssl", arguments, workingFolder: folder.path) { server in
            let port = try await portOfServer(server)
            func target(_ name: String, _ more: String) -> String {
                """
                [[poll_external.targets]]
                url = "https://localhost:\(port)/page?\(name)"
                name = "\(name)"
                tls_config = { ca_file = "\(folder.path("certs/ca.pem"))"\(more) }

                """
            }
            let identity = """
                , cert_file = "\(folder.path("certs/client.pem"))", key_file = "\(folder.path("certs/client-key.pem"))"
                """
            let config = Configurations.scrape + Configurations.polledOnce
            try await withProxy(config + target("known", identity) + target("stranger", "")) { proxy in
                try await waitUntilReady(proxy)
                let known = try await curl("http://\(proxy.scrape)/metrics?app=known")
                #expect(known.body == "served 1\n", "\(known)\(proxy.log)")
                #expect(try await curl("http://\(proxy.scrape)/metrics?app=stranger").status == 503)
                let apps = try await curl("http://\(proxy.scrape)/apps?format=json").body
                #expect(apps.contains(alert), "\(apps)")
            }
        }
    }
}
