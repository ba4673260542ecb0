import TestSupport
import Testing

extension Attacks {
    @Suite("on descriptors")
    struct OnDescriptors {
        @Test("with all descriptors that pushers may have taken, scrapes work and the program rests")
        func manyPushers() async throws {
            let config = Attacked.scrape() + Attacked.receiver()
            try await withProxy(config, wrapper: ["prlimit", "--nofile=64:64"]) { proxy in
                #expect(proxy.log.contains("concurrent_requests") && proxy.log.contains("max_connections"), "\(proxy.log)")
                #expect(proxy.log.contains("LimitNOFILE"), "\(proxy.log)")
                let measured = try await proxy.attack("many-pushers")
                #expect(measured.attack.failed == 0, "\(measured.attack.failures ?? [])")
                #expect(measured.attack.scrapes ?? 0 > 3)
                // A part of one core; an accept that fails again and again takes all of one.
                #expect(measured.attack.cpu ?? 1 < 0.5)
                try measured.expectHarmless(holding: 16, turns: 16)
            }
        }

        @Test("while accept fails for want of descriptors the event loop rests, and goes on once there are some")
        func outOfDescriptors() async throws {
            try await withProxy(Attacked.scrape() + Attacked.receiver()) { proxy in
                let measured = try await proxy.attack("out-of-descriptors")
                // The witness asks all the time: what it takes is not counted as the attack's.
                let asking = measured.idle.cpu.p50 / 0.002
                #expect(measured.attack.cpu ?? 1 < asking + 0.1, "\(measured.attack), the witness takes \(asking) at most")
                #expect(measured.attack.accepted ?? 0 >= 20)
                // Each listener that has met it says so, once.
                let told = proxy.log.split(separator: "\n").filter { $0.contains("cannot accept connections") }.map { $0.dropFirst(24) }
                #expect(!told.isEmpty && Set(told).count == told.count, "\(proxy.log)")
                try measured.expectHarmless(holding: 16, turns: 16)
            }
        }
    }
}
