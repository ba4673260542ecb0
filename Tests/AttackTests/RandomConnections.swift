import TestSupport
import Testing

extension Attacks {
    @Suite("at random")
    struct AtRandom {
        @Test(
            "random sequences of connects, partial writes, pauses, resets and half-closes leave nothing behind",
            arguments: [("json", 1), ("json", 2), ("capnp", 3)])
        func randomConnections(format: String, seed: Int) async throws {
            let unix = "receive_on_unix_socket = true\nreceiver_unix_socket = \"receiver.sock\"\nmax_inflight_size = \"16MiB\""
            // Short, so that what is half done ends within the test.
            let times = "header_timeout = \"2s\"\nidle_timeout = \"3s\"\nhandshake_timeout = \"2s\""
            let config = Attacked.tls().replacing("tls = ", with: "\(times)\ntls = ") + Attacked.receiver(unix, format: format)
            try await withProxy(config, certificates: true) { proxy in
                let measured = try await proxy.attack("random", "seed=\(seed)", "run_for=4", format: format)
                try measured.expectHarmless(holding: 48, turns: 32)
                let connection = try RawConnection(to: proxy.scrape)
                // The last one is the connection that asks.
                try await wait(for: "all connections to end") { try await openConnections(connection) == 1 }
            }
        }
    }
}

private func openConnections(_ connection: RawConnection) async throws -> Int {
    let body = try await connection.get("/metrics").body
    return body.split(separator: "\n").filter { $0.hasPrefix("exporter_proxy_connections{") }
        .reduce(0) { $0 + (Int($1.split(separator: " ").last ?? "") ?? 0) }
}
