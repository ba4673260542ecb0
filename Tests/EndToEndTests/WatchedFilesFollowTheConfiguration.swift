import Foundation
import TestSupport
import Testing

private func config(_ certificate: String) -> String {
    Configurations.scrape + "tls = \"required\"\n[exporter.tls_server_config]\ncert_file = \"\(certificate).pem\"\nkey_file = \"key.pem\"\n"
}

@Test("files that the configuration names from now on are watched, those of before no longer; what a broken one names is, too")
func watchedFilesFollowTheConfiguration() async throws {
    let authority = try ThrowawayCA()
    let certificate = try authority.serverCertificate(names: ["localhost", "127.0.0.1"])
    try await withProxy(
        config("a"),
        prepare: { folder in
            try folder.write("a.pem", certificate.chainPEM)
            try folder.write("key.pem", certificate.privateKeyPEM, mode: 0o600)
        }
    ) { proxy in
        // Named by a configuration that cannot run for want of it: making it is enough.
        try await proxy.save(config("b"))
        #expect(proxy.log.contains("cannot read \(proxy.folder.path("b.pem")): no such file or directory"))
        try await proxy.reloading { try proxy.folder.write("b.pem", certificate.chainPEM) }
        try await wait(for: "the log") { proxy.log.contains("exporter.tls_server_config.cert_file: ") }
        let reloads = proxy.reloads
        // Nobody's business any more. Nothing announces what does not come: twice as long as the watcher ever waits for quiet.
        try proxy.folder.write("a.pem", "no certificate at all")
        try await Task.sleep(for: .seconds(1))
        #expect(proxy.reloads == reloads)
        try await proxy.reloading { try proxy.folder.write("b.pem", certificate.chainPEM + authority.certificatePEM) }
        try await wait(for: "the log") { proxy.log.contains("b.pem has new contents") }
    }
}
