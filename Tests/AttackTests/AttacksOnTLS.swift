import TestSupport
import Testing

extension Attacks {
    @Suite("on TLS, before the peer is known")
    struct OnTLS {
        private static let config = Attacked.tls() + Attacked.receiver()

        @Test(
            "what a ClientHello announces is not kept before it comes",
            arguments: [131_000, 16_777_215])
        func announcedHellos(length: Int) async throws {
            try await withProxy(Self.config, certificates: true) { proxy in
                let measured = try await proxy.attack("announced-hellos", "length=\(length)")
                try measured.expectHarmless(holding: 48, turns: 32)
            }
        }

        @Test("what certificates of a client announce is not kept either", arguments: [100_000, 16_777_215])
        func announcedCertificates(length: Int) async throws {
            try await withProxy(Self.config, certificates: true) { proxy in
                let measured = try await proxy.attack("announced-certificates", "length=\(length)")
                try measured.expectHarmless(holding: 32, turns: 32)
            }
        }

        @Test("handshakes that stop half way cost little each")
        func halfHandshakes() async throws {
            try await withProxy(Self.config, certificates: true) { proxy in
                try await proxy.attack("half-handshakes").expectHarmless(holding: 64, turns: 32)
            }
        }

        @Test("a ClientHello of a byte a record is read without a stall")
        func hellosInPieces() async throws {
            try await withProxy(Self.config, certificates: true) { proxy in
                try await proxy.attack("hellos-in-pieces").expectHarmless(holding: 48, turns: 32)
            }
        }
    }
}
