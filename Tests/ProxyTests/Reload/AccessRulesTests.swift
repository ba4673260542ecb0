import Testing

@testable import Proxy

@Suite("Access rules")
struct AccessRulesTests {
    private static let config = TLSServerConfig(certFile: "cert.pem", keyFile: "key.pem")

    private func loaded(_ tls: ListenerTLS, files: [String: String] = [:], keys: [String: String] = [:]) -> LoadedConfig {
        var config = Config()
        config.exporter.tls = tls
        return LoadedConfig(
            config: config, files: files.mapValues { Array($0.utf8) }, references: keys.map { FileReference(key: $0.key, path: $0.value) },
            origin: ConfigOrigin(file: "config.toml"))
    }

    @Test("a change of the mode counts, in either direction")
    func mode() {
        let modes = [ListenerTLS.off, .optional(Self.config), .required(Self.config)]
        for (index, mode) in modes.enumerated() {
            for (other, otherMode) in modes.enumerated() {
                #expect((AccessRules.scrape(loaded(mode)) == AccessRules.scrape(loaded(otherMode))) == (index == other))
            }
        }
    }

    @Test("another certificate or key does not count, by name or by contents; nor do the versions")
    func rotation() {
        var moved = Self.config
        moved.certFile = "other.pem"
        moved.keyFile = "other-key.pem"
        moved.minVersion = .tls13
        let old = loaded(
            .required(Self.config), files: ["cert.pem": "a", "key.pem": "a"],
            keys: ["exporter.tls_server_config.cert_file": "cert.pem", "exporter.tls_server_config.key_file": "key.pem"])
        let new = loaded(
            .required(moved), files: ["other.pem": "b", "other-key.pem": "b"],
            keys: ["exporter.tls_server_config.cert_file": "other.pem", "exporter.tls_server_config.key_file": "other-key.pem"])
        #expect(AccessRules.scrape(old) == AccessRules.scrape(new))
    }

    @Test("what is asked of clients counts, suites and curves do not, nor where the authorities' file lies")
    func clients() {
        func isAnother(_ change: (inout TLSServerConfig) -> Void) -> Bool {
            var config = Self.config
            change(&config)
            return AccessRules.scrape(loaded(.required(config))) != AccessRules.scrape(loaded(.required(Self.config)))
        }
        #expect(isAnother { $0.clientAuthType = .requireAndVerifyClientCert })
        #expect(isAnother { $0.clientAllowedSANs = ["prometheus.example"] })
        #expect(isAnother { $0.clientCAFile = "ca.pem" })
        #expect(!isAnother { $0.cipherSuites = ["TLS_AES_128_GCM_SHA256"] })
        #expect(!isAnother { $0.curvePreferences = ["X25519"] })
        #expect(!isAnother { $0.prefersServerCipherSuites = false })
        func withAuthorities(_ path: String) -> AccessRules {
            var config = Self.config
            config.clientCAFile = path
            return .scrape(
                loaded(.required(config), files: [path: "same"], keys: ["exporter.tls_server_config.client_ca_file": path]))
        }
        #expect(withAuthorities("one.pem") == withAuthorities("two.pem"))
    }

    @Test("the contents of authorities and revocation lists count", arguments: ["client_ca_file", "client_crl_file"])
    func contents(key: String) {
        let keys = ["exporter.tls_server_config.\(key)": "file.pem"]
        let old = loaded(.required(Self.config), files: ["file.pem": "old"], keys: keys)
        #expect(AccessRules.scrape(old) != AccessRules.scrape(loaded(.required(Self.config), files: ["file.pem": "new"], keys: keys)))
        #expect(AccessRules.scrape(old) == AccessRules.scrape(loaded(.required(Self.config), files: ["file.pem": "old"], keys: keys)))
        #expect(AccessRules.receiver(old) == AccessRules.receiver(loaded(.off)), "the other side's files are its own")
    }

    @Test("users count on the scrape side alone: who comes, who leaves, whose password changes")
    func users() throws {
        let letters = String(repeating: "a", count: 53)
        func loaded(_ users: [String: String]) throws -> LoadedConfig {
            var config = Config()
            config.exporter.basicAuthUsers = try users.mapValues { try BcryptHash(parsing: $0 + letters) }
            return LoadedConfig(config: config, origin: ConfigOrigin(file: "config.toml"))
        }
        let old = try loaded(["a": "$2y$10$", "b": "$2y$10$"])
        for users in [["a": "$2y$10$"], ["a": "$2y$10$", "b": "$2y$11$"], ["a": "$2y$10$", "b": "$2y$10$", "c": "$2y$10$"], [:]] {
            #expect(try AccessRules.scrape(old) != AccessRules.scrape(loaded(users)))
            #expect(try AccessRules.receiver(old) == AccessRules.receiver(loaded(users)))
        }
        #expect(try AccessRules.scrape(old) == AccessRules.scrape(loaded(["b": "$2y$10$", "a": "$2y$10$"])))
    }
}
