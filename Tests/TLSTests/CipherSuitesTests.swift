import COpenSSL
import TestSupport
import Testing

@testable import TLS

struct CipherSuitesTests {
    private func server(_ suites: [String], _ change: (inout TLSServerSettings) -> Void = { _ in }) throws -> TLSContext {
        try Contexts.server {
            $0.cipherSuites = suites
            change(&$0)
        }
    }

    /// The suite that was agreed on; `nil` when there was none.
    private func suite(_ client: OpenSSLClient, _ server: TLSContext) throws -> String? {
        let served = try serve(client, by: server)
        guard client.isConnected else {
            #expect(served.outcomes.all == [.cipherSuite])
            return nil
        }
        return client.cipherSuite
    }

    @Test(
        "a suite can be given by either name",
        arguments: [
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384",
        ])
    func names(_ name: String) throws {
        let context = try server([name])
        #expect(try suite(OpenSSLClient(version: 0x0303), context) == "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
        #expect(try suite(OpenSSLClient(version: 0x0303, suites: "ECDHE-ECDSA-AES128-GCM-SHA256"), context) == nil)
        // TLS 1.3 stays as it was.
        #expect(try suite(OpenSSLClient(version: 0x0304), context) == "TLS_AES_128_GCM_SHA256")
    }

    @Test(
        "a client speaks with old servers: CBC, RSA key exchange, P-521",
        arguments: [
            ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", ThrowawayCA.KeyKind.ecdsa), ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", .p521),
            ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", .rsa), ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", .rsa),
            ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", .rsa), ("TLS_RSA_WITH_AES_128_GCM_SHA256", .rsa),
            ("TLS_RSA_WITH_AES_256_GCM_SHA384", .rsa), ("TLS_RSA_WITH_AES_128_CBC_SHA", .rsa), ("TLS_RSA_WITH_AES_256_CBC_SHA", .rsa),
        ])
    func oldServers(_ suite: String, _ key: ThrowawayCA.KeyKind) throws {
        let pair = try BackToBack(
            server: Contexts.server(Contexts.ca.serverCertificate(key: key)) {
                $0.cipherSuites = [suite]
                $0.maxVersion = .tls12
            })
        try pair.connect()
        #expect(pair.client.recorder.story == [.handshake(nil)])
        #expect(pair.client.tls.negotiation?.cipherSuite == suite)
    }

    @Test("a client offers the secure suites first")
    func clientOrder() throws {
        let pair = try BackToBack(
            server: Contexts.server(Contexts.ca.serverCertificate(key: .rsa)) {
                $0.cipherSuites = [
                    "TLS_RSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                ]
                $0.prefersOwnCipherSuites = false
                $0.maxVersion = .tls12
            })
        try pair.connect()
        #expect(pair.client.tls.negotiation?.cipherSuite == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
    }

    @Test("a client's suites, curves and versions are those of its settings")
    func clientSettings() throws {
        func connect(_ change: (inout TLSClientSettings) -> Void, _ server: (inout TLSServerSettings) -> Void = { _ in }) throws
            -> BackToBack
        {
            let pair = try BackToBack(client: Contexts.client(change), server: Contexts.server(Contexts.serverCertificate, server))
            try pair.connect()
            return pair
        }
        let tls12 = try connect { $0.maxVersion = .tls12 }
        #expect(tls12.client.tls.negotiation?.isTLS12 == true)
        let suite = try connect {
            $0.cipherSuites = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
            $0.maxVersion = .tls12
        }
        #expect(suite.client.tls.negotiation?.cipherSuite == "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
        let curve = try connect({ $0.curves = ["CurveP384"] }, { $0.curves = ["X25519"] })
        #expect(curve.client.recorder.errors == [.alertReceived("handshake failure")])
        #expect(throws: TLSSettingsError.unknownCipherSuite("X")) { try Contexts.client { $0.cipherSuites = ["X"] } }
        #expect(throws: TLSSettingsError.unknownCurve("X")) { try Contexts.client { $0.curves = ["X"] } }
        #expect(throws: TLSSettingsError.minVersionAboveMaxVersion) {
            try Contexts.client {
                $0.minVersion = .tls13
                $0.maxVersion = .tls12
            }
        }
    }

    @Test("a listener offers no suite for old clients by default")
    func oldClients() throws {
        let context = try Contexts.server(Contexts.ca.serverCertificate(key: .rsa))
        for suites in ["ECDHE-RSA-AES128-SHA", "AES128-GCM-SHA256", "AES256-SHA"] {
            #expect(try suite(OpenSSLClient(version: 0x0303, suites: suites), context) == nil)
        }
    }

    @Test("suites of TLS 1.3 leave TLS 1.2 as it was")
    func tls13() throws {
        let context = try server(["TLS_CHACHA20_POLY1305_SHA256"])
        #expect(try suite(OpenSSLClient(version: 0x0304), context) == "TLS_CHACHA20_POLY1305_SHA256")
        #expect(try suite(OpenSSLClient(version: 0x0304, suites13: "TLS_AES_128_GCM_SHA256"), context) == nil)
        #expect(try suite(OpenSSLClient(version: 0x0303), context) == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    }

    @Test("all of Go's secure suites that OpenSSL has are known, and Go's old names")
    func goNames() {
        let names = [
            "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
            "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        ]
        for name in names { #expect(CipherSuites.has(name), "\(name)") }
    }

    @Test("a suite without security, or that this OpenSSL lacks, is refused with the list of those it has")
    func unknown() throws {
        for name in [
            "TLS_RSA_WITH_RC4_128_SHA", "NULL-SHA256", "AECDH-AES128-SHA", "PSK-AES128-GCM-SHA256", "ALL", "", "AES128-GCM-SHA256:ALL",
        ] {
            #expect(throws: TLSSettingsError.unknownCipherSuite(name)) { try server([name]) }
        }
        let text = TLSSettingsError.unknownCipherSuite("X").description
        #expect(text.contains("TLS_AES_128_GCM_SHA256, ") && text.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"))
    }

    @Test("only suites for another kind of key: an error with TLS 1.2 alone, a note with TLS 1.3")
    func keys() throws {
        let rsa = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
        #expect(throws: TLSSettingsError.noCipherSuiteForKey) { try server(rsa) { $0.maxVersion = .tls12 } }
        #expect(try server(rsa).lacksTLS12Suite)
        #expect(try !server(rsa) { $0.minVersion = .tls13 }.lacksTLS12Suite)
        #expect(try !server(rsa + ["ECDHE-ECDSA-AES128-GCM-SHA256"]).lacksTLS12Suite)
        #expect(try !server([]).lacksTLS12Suite)
    }

    @Test("an RSA-PSS key fits the suites with RSA signatures, and not RSA key exchange")
    func rsaPSS() throws {
        let certificate = try Contexts.ca.serverCertificate(key: .rsaPSS)
        func server(_ suite: String, _ maxVersion: TLSProtocolVersion = .tls13) throws -> TLSContext {
            try Contexts.server(certificate) {
                $0.cipherSuites = [suite]
                $0.maxVersion = maxVersion
            }
        }
        let name = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
        for version in [TLSProtocolVersion.tls12, .tls13] {
            let context = try server(name, version)
            #expect(!context.lacksTLS12Suite)
            #expect(try suite(OpenSSLClient(version: 0x0303), context) == name)
        }
        for name in ["TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"] {
            #expect(try server(name).lacksTLS12Suite)
            #expect(throws: TLSSettingsError.noCipherSuiteForKey) { try server(name, .tls12) }
        }
    }

    @Test("which kinds of key fit a suite of TLS 1.2")
    func kindsOfKey() throws {
        let kinds = [EVP_PKEY_RSA, EVP_PKEY_RSA_PSS, EVP_PKEY_DSA, EVP_PKEY_EC, EVP_PKEY_ED25519]
        let expected = [
            "ECDHE-RSA-AES128-GCM-SHA256": [true, true, false, false, false], "AES128-GCM-SHA256": [true, false, false, false, false],
            "DHE-DSS-AES128-GCM-SHA256": [false, false, true, false, false],
            "ECDHE-ECDSA-AES128-GCM-SHA256": [false, false, false, true, true],
        ]
        for (name, fits) in expected {
            let suite = try #require(CipherSuites.suite(named: name))
            #expect(kinds.map(suite.fits) == fits, "\(name)")
        }
    }

    @Test("finite-field Diffie-Hellman works when it is configured")
    func dhe() throws {
        let certificate = try Contexts.ca.serverCertificate(key: .rsa)
        let context = try Contexts.server(certificate) { $0.cipherSuites = ["DHE-RSA-AES128-GCM-SHA256"] }
        #expect(try suite(OpenSSLClient(version: 0x0303), context) == "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256")
    }

    @Test("the server's order decides, or the client's")
    func order() throws {
        let suites = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]
        let client = {
            try OpenSSLClient(
                version: 0x0303, suites: "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
        }
        #expect(try suite(client(), server(suites)) == "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
        #expect(
            try suite(client(), server(suites) { $0.prefersOwnCipherSuites = false }) == "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")
        // By default a client that prefers ChaCha20, because it has no AES in hardware, gets it.
        #expect(try suite(client(), Contexts.server) == "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")
    }

    @Test(
        "curves by both names",
        arguments: [("CurveP256", "prime256v1"), ("P-384", "secp384r1"), ("CurveP521", "secp521r1"), ("X25519", "X25519")])
    func curves(_ name: String, _ group: String) throws {
        let context = try Contexts.server { $0.curves = [name] }
        for version in [Int32(0x0303), 0x0304] {
            let client = try OpenSSLClient(version: version, groups: "X448:X25519:P-256:P-384:P-521")
            _ = try serve(client, by: context)
            #expect(client.isConnected)
            #expect(client.group == group)
        }
        let other = try OpenSSLClient(version: 0x0304, groups: "X448")
        #expect(try serve(other, by: context).outcomes.all == [.curve])
    }

    @Test("curves are taken in the order given")
    func curveOrder() throws {
        let context = try Contexts.server { $0.curves = ["CurveP384", "X25519"] }
        let client = try OpenSSLClient(version: 0x0303, groups: "X25519:P-384:P-256")
        _ = try serve(client, by: context)
        #expect(client.isConnected)
        #expect(client.group == "secp384r1")
    }

    @Test("a curve that this OpenSSL lacks is refused with the list of those it has")
    func unknownCurve() throws {
        for name in ["CurveP224x", "", "X25519:P-256", "?X25519", "secp256"] {
            #expect(throws: TLSSettingsError.unknownCurve(name)) { try Contexts.server { $0.curves = ["X25519", name] } }
        }
        #expect(TLSSettingsError.unknownCurve("X").description.contains("X25519, CurveP256, CurveP384, CurveP521, X448"))
    }
}
