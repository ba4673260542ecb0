import Proxy
import TestSupport
import Testing

@testable import Services
@testable import TLS

@Suite("a client's TLS context")
struct ClientContextTests {
    @Test("is made at the first call, once")
    func once() throws {
        let client = ClientContext(TLSClientSettings(trustRoots: .system(SystemAuthorities())))
        #expect(client.made == nil)
        let context = try client.get()
        #expect(client.made === context)
        #expect(try client.get() === context)
    }

    @Test("says each time what is wrong with its settings")
    func wrong() {
        let client = ClientContext(TLSClientSettings(trustRoots: .certificates(Array("no PEM".utf8))))
        for _ in 0..<2 {
            #expect {
                try client.get()
            } throws: { error in
                if case TLSSettingsError.invalidTrustRoots? = error as? TLSSettingsError { true } else { false }
            }
        }
    }

    @Test("a problem with the settings of a target that has a client certificate is told once")
    func problems() throws {
        let target = try Target(port: 1).with {
            $0.tls.certFile = FileContent(path: "client.pem", bytes: [])
            $0.tls.keyFile = SecretFile(path: "client-key.pem", bytes: [])
        }
        var config = Config()
        config.poll.targets = [target]
        let loaded = LoadedConfig(config: config, origin: ConfigOrigin(file: "config.toml"))
        var contexts = ClientContexts(
            loaded: loaded, unknownNames: UnknownTLSNames(in: loaded), handshakeLimit: nil, previous: nil, times: CertificateTimes())
        var problems: [ConfigProblem] = []
        let tls = contexts.tls(ofTarget: 0, &problems)
        #expect(tls == nil)
        #expect(problems.map(\.key) == ["poll_external.tls_config.cert_file"])
    }

    @Test("the system's authorities are taken over by a later configuration, unless they have changed")
    func authorities() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("roots/5ed36f99.0", "")
            let authorities = SystemAuthorities(folder: folder.path("roots"))
            let loaded = LoadedConfig(config: Config(), origin: ConfigOrigin(file: "config.toml"))
            func next() -> SystemAuthorities {
                ClientContexts(
                    loaded: loaded, unknownNames: UnknownTLSNames(in: loaded), handshakeLimit: nil,
                    previous: ClientContexts.Made(authorities: authorities), times: CertificateTimes()
                ).made.authorities
            }
            #expect(next() === authorities)
            try folder.write("roots/5ed36f99.1", "")
            #expect(next() !== authorities)
        }
    }
}
