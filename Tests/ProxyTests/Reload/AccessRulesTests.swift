import Testing

@testable import Proxy

@Suite("Access rules")
struct AccessRulesTests {
    private static let settings = TLSServerConfig(
        certFile: FileContent(path: "cert.pem", bytes: [1]), keyFile: SecretFile(path: "key.pem", bytes: [1]))

    private func rules(_ tls: ListenerTLS) -> AccessRules {
        var config = Config()
        config.exporter.tls = tls
        return .scrape(config)
    }

    /// The rules of the settings after a change.
    private func rules(after change: (inout TLSServerConfig) -> Void) -> AccessRules {
        var settings = Self.settings
        change(&settings)
        return rules(.required(settings))
    }

    @Test("a change of the mode counts, in either direction")
    func mode() {
        let modes = [ListenerTLS.off, .optional(Self.settings), .required(Self.settings)]
        for (index, mode) in modes.enumerated() {
            for (other, otherMode) in modes.enumerated() {
                #expect((rules(mode) == rules(otherMode)) == (index == other))
            }
        }
    }

    @Test("another certificate or key does not count, by name or by contents; nor do versions, suites and curves")
    func rotation() {
        let old = rules { _ in }
        #expect(rules { $0.certFile = FileContent(path: "other.pem", bytes: [2]) } == old)
        #expect(rules { $0.keyFile = SecretFile(path: "other.pem", bytes: [2]) } == old)
        #expect(rules { $0.keyPasswordFile = SecretFile(path: "password", bytes: [2]) } == old)
        #expect(rules { $0.minVersion = .tls13 } == old)
        #expect(rules { $0.maxVersion = .tls12 } == old)
        #expect(rules { $0.cipherSuites = ["TLS_AES_128_GCM_SHA256"] } == old)
        #expect(rules { $0.curvePreferences = ["X25519"] } == old)
        #expect(rules { $0.prefersServerCipherSuites = false } == old)
    }

    @Test("what is asked of clients counts")
    func clients() {
        let old = rules { _ in }
        #expect(rules { $0.clients.authType = .requireAndVerifyClientCert } != old)
        #expect(rules { $0.clients.allowedSANs = ["prometheus.example"] } != old)
        #expect(rules { $0.clients.caFile = FileContent(path: "ca.pem", bytes: []) } != old)
        #expect(rules { $0.clients.crlFile = FileContent(path: "ca.crl", bytes: []) } != old)
    }

    @Test("the contents of authorities and revocation lists count, not where their files are")
    func contents() {
        for file in [\ClientAccess.caFile, \ClientAccess.crlFile] {
            func rules(_ path: String, _ bytes: [UInt8]) -> AccessRules {
                self.rules { $0.clients[keyPath: file] = FileContent(path: path, bytes: bytes) }
            }
            #expect(rules("one.pem", [1]) == rules("two.pem", [1]))
            #expect(rules("one.pem", [1]) != rules("one.pem", [2]))
        }
    }

    private func loaded(_ config: Config) -> LoadedConfig {
        LoadedConfig(config: config, origin: ConfigOrigin(file: "config.toml"))
    }

    @Test("users count on their own side: one that comes, one that leaves, one whose password changes")
    func users() throws {
        let letters = String(repeating: "a", count: 53)
        func hashes(_ users: [String: String]) throws -> [String: BcryptHash] {
            try users.mapValues { try BcryptHash(parsing: $0 + letters) }
        }
        var old = Config()
        old.receiver.httpSocket = ListenAddress(host: "127.0.0.1", port: 6557)
        old.exporter.basicAuthUsers = try hashes(["a": "$2y$10$", "b": "$2y$10$"])
        old.receiver.basicAuthUsers = old.exporter.basicAuthUsers
        for users in [["a": "$2y$10$"], ["a": "$2y$10$", "b": "$2y$11$"], ["a": "$2y$10$", "b": "$2y$10$", "c": "$2y$10$"], [:]] {
            var new = old
            new.exporter.basicAuthUsers = try hashes(users)
            #expect(AccessRules.scrape(old) != AccessRules.scrape(new))
            #expect(AccessRules.httpReceiver(old) == AccessRules.httpReceiver(new))
            new = old
            new.receiver.basicAuthUsers = try hashes(users)
            #expect(AccessRules.scrape(old) == AccessRules.scrape(new))
            #expect(AccessRules.httpReceiver(old) != AccessRules.httpReceiver(new))
            #expect(AccessRules.tcpReceiver(old) == AccessRules.tcpReceiver(new))
            let plan = ReloadPlan(from: loaded(old), to: loaded(new))
            #expect(!plan.changesTCPAccess && plan.changesHTTPAccess)
        }
    }
}
