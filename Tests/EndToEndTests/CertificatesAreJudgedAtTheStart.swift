import Foundation
import TestSupport
import Testing

/// What `check` says about a scrape listener with these files.
private func check(_ settings: String, prepare: (TemporaryFolder) async throws -> Void) async throws -> ProgramResult {
    let config = """
        [exporter]
        scrape_expose_endpoint = "127.0.0.1:0"
        [exporter.tls_server_config]
        cert_file = "server.pem"
        key_file = "server.key"
        \(settings)

        """
    return try await runProxy(config, arguments: ["check", "-c", "config.toml"], prepare: prepare)
}

private func write(_ certificate: ThrowawayCertificate, _ folder: TemporaryFolder) throws {
    try certificate.write(to: URL(fileURLWithPath: folder.path), name: "server")
}

@Test("an expired certificate is a warning with its date, and the proxy starts")
func anExpiredCertificateIsAWarning() async throws {
    let ca = try ThrowawayCA()
    let result = try await check("") { try write(ca.serverCertificate(validity: .expired), $0) }
    #expect(result.succeeded)
    #expect(result.errors.hasPrefix("config.toml:4:13: warning: exporter.tls_server_config.cert_file: "), "\(result.errors)")
    #expect(result.errors.contains("has expired on 20"), "\(result.errors)")
    let early = try await check("") { try write(ca.serverCertificate(validity: .notYet), $0) }
    #expect(early.succeeded && early.errors.contains("is not valid before 20"), "\(early.errors)")
    try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { folder in
        let expired = try ca.serverCertificate(validity: .expired)
        try folder.write("certs/server.pem", expired.chainPEM)
        try folder.write("certs/server-key.pem", expired.privateKeyPEM)
    } _: { proxy in
        try await wait(for: "the log") { proxy.log.contains("has expired on 20") }
    }
}

@Test("a chain of an intermediate is fine; without a name, or broken, it is a warning")
func chainsAreLookedAt() async throws {
    let ca = try ThrowawayCA()
    let fine = try await check("") { try write(ca.intermediate().serverCertificate(key: .rsa), $0) }
    #expect(fine.succeeded && fine.errors == "", "\(fine.errors)")
    let nameless = try await check("") { try write(ca.serverCertificate(names: []), $0) }
    #expect(nameless.succeeded && nameless.errors.contains("names no host"), "\(nameless.errors)")
    let broken = try await check("") { folder in
        let certificate = try ca.serverCertificate(key: .ed25519)
        try write(certificate, folder)
        try folder.write("server.pem", certificate.certificatePEM + ThrowawayCA(name: "another").certificatePEM)
    }
    #expect(broken.succeeded && broken.errors.contains("certificate 2 of the file did not sign certificate 1"), "\(broken.errors)")
}

@Test("a weak key is an error")
func aWeakKeyIsAnError() async throws {
    let ca = try ThrowawayCA()
    let result = try await check("") { try write(ca.serverCertificate(key: .rsa, rsaBits: 1024), $0) }
    #expect(result.status == .exited(1))
    #expect(result.errors.contains("config.toml:4:13: error: ") && result.errors.contains("1024 bits is too weak"), "\(result.errors)")
}

@Test("a certificate with which no client could connect is an error")
func handshakesAreTried() async throws {
    let ca = try ThrowawayCA()
    let tooLong = try await check("") { folder in
        let certificate = try ca.serverCertificate()
        try write(certificate, folder)
        // Each takes some 400 bytes of a message that may have 64 KiB.
        try folder.write("server.pem", certificate.certificatePEM + String(repeating: ca.certificatePEM, count: 300))
    }
    #expect(tooLong.status == .exited(1))
    #expect(tooLong.errors.contains("config.toml:4:13: error: exporter.tls_server_config.cert_file: "), "\(tooLong.errors)")
    #expect(tooLong.errors.contains("no client can connect: "), "\(tooLong.errors)")
}

@Test(
    "a certificate that only clients with unusual settings take is a warning",
    arguments: [
        (key: ["ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"], settings: ""),
        (["ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"], "curve_preferences = [\"brainpoolP256r1\", \"X25519\"]"),
        (["ed448"], ""),
        (["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], ""),
        (["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], "max_version = \"TLS12\""),
    ])
func unusualKeysAreAWarning(key: [String], settings: String) async throws {
    let unusual = try await check(settings) { try await makeKey(key, $0) }
    #expect(unusual.succeeded)
    #expect(unusual.errors.contains("config.toml:4:13: warning: ") && unusual.errors.contains("Prometheus"), "\(unusual.errors)")
}

@Test(
    "a certificate that every client takes is not warned about",
    arguments: [
        ["rsa:2048"], ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], ["ed25519"],
    ], ["TLS12", "TLS13"])
func usualKeysAreTaken(key: [String], version: String) async throws {
    let usual = try await check("max_version = \"\(version)\"") { try await makeKey(key, $0) }
    #expect(usual.errors == "")
    #expect(usual.succeeded)
}

/// A certificate for a new key of this kind (`openssl req -newkey`), signed by itself.
private func makeKey(_ kind: [String], _ folder: borrowing TemporaryFolder) async throws {
    let key = ["-newkey"] + kind + ["-keyout", folder.path("server.key")]
    let names = ["-subj", "/CN=a", "-addext", "subjectAltName=DNS:a", "-out", folder.path("server.pem")]
    let made = try await run("openssl", ["req", "-x509", "-nodes"] + key + names)
    #expect(made.succeeded, "\(made.errors)")
}

@Test("a private key that everyone can read is warned about")
func aReadableKeyIsAWarning() async throws {
    let ca = try ThrowawayCA()
    let result = try await check("") { folder in
        try write(ca.serverCertificate(), folder)
        #expect(chmod(folder.path("server.key"), 0o644) == 0)
    }
    #expect(result.succeeded)
    #expect(
        result.errors.hasPrefix("config.toml:5:12: warning: exporter.tls_server_config.key_file: ")
            && result.errors.contains("can be read by every user"), "\(result.errors)")
    let byGroup = try await check("") { folder in
        try write(ca.serverCertificate(), folder)
        #expect(chmod(folder.path("server.key"), 0o640) == 0)
    }
    #expect(byGroup.errors == "")
}

@Test("an encrypted key is opened by its password file; without it, or with a wrong one, the key at fault is named")
func encryptedKeys() async throws {
    let certificate = try ThrowawayCA().serverCertificate()
    func check(password: String?) async throws -> String {
        let settings = password == nil ? "" : "key_password_file = \"password\""
        return try await EndToEndTests.check(settings) { folder in
            try write(certificate, folder)
            try folder.write("server.key", certificate.encryptedPrivateKeyPEM)
            #expect(chmod(folder.path("server.key"), 0o600) == 0)
            if let password {
                try folder.write("password", password)
                #expect(chmod(folder.path("password"), 0o600) == 0)
            }
        }.errors
    }
    #expect(try await check(password: "secret\n") == "")
    let missing = try await check(password: nil)
    #expect(missing.contains("config.toml:5:12: error: ") && missing.contains("encrypted"), "\(missing)")
    let wrong = try await check(password: "guess")
    #expect(wrong.contains("config.toml:6:21: error: ") && wrong.contains("does not open the key"), "\(wrong)")
}

@Test("an unknown suite or curve is named with its place, and what there is; an outdated revocation list is a warning")
func namesAndLists() async throws {
    let ca = try ThrowawayCA()
    let certificate = try ca.serverCertificate()
    let names = try await check("cipher_suites = [\"TLS_AES_128_GCM_SHA256\", \"RC4-MD5\"]\ncurve_preferences = [\"P-999\"]") {
        try write(certificate, $0)
    }
    #expect(names.status == .exited(1))
    #expect(
        names.errors.contains("config.toml:6:44: error: ") && names.errors.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        "\(names.errors)")
    #expect(names.errors.contains("config.toml:7:22: error: ") && names.errors.contains("CurveP256"), "\(names.errors)")
    let clients = "client_auth_type = \"RequireAndVerifyClientCert\"\nclient_ca_file = \"ca.pem\"\nclient_crl_file = \"ca.crl\""
    for (validity, words) in [(ThrowawayCA.Validity.expired, "a revocation list expired on 20"), (.notYet, "is not valid before 20")] {
        let lists = try await check(clients) { folder in
            try write(certificate, folder)
            try folder.write("ca.pem", ca.certificatePEM)
            try folder.write("ca.crl", ca.revocationList(validity: validity))
        }
        #expect(lists.succeeded)
        #expect(lists.errors.contains("config.toml:8:19: warning: ") && lists.errors.contains(words), "\(lists.errors)")
    }
}

@Test("authorities that are missing are told once, at the type that needs them")
func missingAuthoritiesAreToldOnce() async throws {
    let ca = try ThrowawayCA()
    let result = try await check("client_auth_type = \"RequireAndVerifyClientCert\"") { try write(ca.serverCertificate(), $0) }
    #expect(result.status == .exited(1))
    let lines = result.errors.split(separator: "\n")
    #expect(lines.count == 1 && result.errors.hasPrefix("config.toml:6:20: error: "), "\(result.errors)")
}

@Test("a certificate that ends within 14 days is a warning with its date; one that ends later is not")
func aCertificateThatEndsSoonIsAWarning() async throws {
    let ca = try ThrowawayCA()
    let day = 86400
    let soon = try await check("") { try write(ca.serverCertificate(validity: .ends(in: 14 * day - 3600)), $0) }
    #expect(soon.succeeded)
    #expect(soon.errors.hasPrefix("config.toml:4:13: warning: exporter.tls_server_config.cert_file: "), "\(soon.errors)")
    #expect(soon.errors.contains(" on 20"), "\(soon.errors)")
    let later = try await check("") { try write(ca.serverCertificate(validity: .ends(in: 14 * day + 3600)), $0) }
    #expect(later.succeeded && later.errors == "", "\(later.errors)")
}
