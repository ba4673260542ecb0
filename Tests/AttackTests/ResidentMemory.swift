import TestSupport
import Testing

/// The figure of docs/security.md, "How much memory it takes": in MiB, of the settings in MiB. The parts for joined bodies and for waiting
/// requests are left out, because the hostile targets send gzip, and no attacker ends its side behind many requests.
private struct MemoryFigure {
    var maxTotalSize, maxHeldSize, pushInflight, pollInflight: Double
    var maxApps, connections: Double

    var mebibytes: Double {
        32 + 3 * maxTotalSize + maxApps / 1024 + maxHeldSize + 1.25 * (pushInflight + pollInflight) + 64 + connections * 48 / 1024
    }
}

extension Attacks {
    @Suite("on memory as a whole")
    struct OnMemory {
        @Test("all attacks at once take no more than the figure that follows from the configuration")
        func mixed() async throws {
            let figure = MemoryFigure(
                maxTotalSize: 32, maxHeldSize: 16, pushInflight: 32, pollInflight: 32, maxApps: 10_000, connections: 600 + 200)
            let exporter = Attacked.tls().replacing(
                "tls = ", with: "max_held_size = \"16MiB\"\nmax_connections = 600\nconcurrent_requests = 200\ntls = ")
            let receiver = Attacked.receiver("max_total_size = \"32MiB\"\nmax_apps = 10000\nmax_inflight_size = \"32MiB\"")
            try await withHostileTargets { port, _ in
                let targets = (0..<40).map { "endless-gzip/\($0)" }
                let poll = Attacked.poll(targets, port: port, "max_inflight_size = \"32MiB\"")
                try await withProxy(exporter + receiver + poll, certificates: true) { proxy in
                    let attacks = "idle-readers,slow-readers,half-messages,tiny-apps,announced-hellos,half-handshakes"
                    let measured = try await proxy.attack(
                        "mixed", "attacks=\(attacks)", "connections=160", "pushers=16", "readers=40", "generations=6", "hold=4", "mib=8")
                    let resident = try #require(measured.resident)
                    #expect(measured.alive)
                    #expect(
                        Double(resident.peak) / 1_048_576 <= figure.mebibytes,
                        "\(resident.peak >> 20) MiB, the configuration allows \(figure.mebibytes)")
                    #expect(measured.works?.scrape == "" && measured.works?.push ?? "" == "", "\(String(describing: measured.works))")
                }
            }
        }
    }
}
