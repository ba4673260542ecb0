import TestSupport
import Testing

extension Attacks {
    @Suite("on receivers")
    struct OnReceivers {
        private static let json = Attacked.scrape() + Attacked.receiver()
        private static let capnp = Attacked.scrape() + Attacked.receiver(format: "capnp")

        @Test("a message of more than a million tiny apps is refused before it is decoded whole")
        func tinyApps() async throws {
            try await withProxy(Self.json) { proxy in
                let measured = try await proxy.attack("tiny-apps")
                #expect(measured.attack.apps ?? 0 > 1_000_000)
                #expect(measured.rejected?["too_many_apps"] == 3, "\(measured.rejected ?? [:])")
                try measured.expectHarmless(holding: 192, turns: 4)
            }
        }

        @Test("a message of as many tiny apps as are allowed is applied without a stall")
        func allowedApps() async throws {
            try await withProxy(Self.json) { proxy in
                let measured = try await proxy.attack("tiny-apps", "fits=99000")
                #expect(measured.rejected == [:])
                // Names and records of the apps stay.
                try measured.expectHarmless(holding: 192, staying: 99, turns: 4)
            }
        }

        @Test(
            "messages that cost more than they weigh do not stall others",
            arguments: [("empty-objects", 2), ("white-space", 32), ("tiny-lines", 8), ("escaped-text", 16), ("deep-values", 16)])
        func costlyMessages(attack: String, mebibytes: Int) async throws {
            try await withProxy(Self.json) { proxy in
                let measured = try await proxy.attack(attack, "mib=\(mebibytes)")
                // By max_inflight_size.
                try measured.expectHarmless(holding: 256, turns: 4)
            }
        }

        @Test(
            "frames that cost more than they weigh do not stall others",
            arguments: [("capnp-tiny", 2), ("capnp-empty", 8), ("capnp-segments", 8), ("capnp-amplified", 15)])
        func costlyFrames(attack: String, mebibytes: Int) async throws {
            try await withProxy(Self.capnp) { proxy in
                let measured = try await proxy.attack(attack, "mib=\(mebibytes)", format: "capnp")
                try measured.expectHarmless(holding: 128, turns: 4)
            }
        }

        @Test("what a frame announces is not kept before it comes")
        func announcedFrames() async throws {
            try await withProxy(Self.capnp) { proxy in
                try await proxy.attack("capnp-announced", format: "capnp").expectHarmless(holding: 16, turns: 8)
            }
        }

        @Test("messages that are almost complete take no more than max_inflight_size together")
        func halfMessages() async throws {
            try await withProxy(Attacked.scrape() + Attacked.receiver("max_inflight_size = \"64MiB\"")) { proxy in
                let measured = try await proxy.attack("half-messages", "hold=2")
                #expect(measured.rejected?["too_much_in_flight"] ?? 0 > 0, "\(measured.rejected ?? [:])")
                // What counts is what it really takes, and what the kernel's readers hold comes on top.
                try measured.expectHarmless(holding: 64 + 40, turns: 12)
            }
        }

        @Test("connections that have sent something large and stay open hold no read buffers", arguments: [false, true])
        func keptSenders(unix: Bool) async throws {
            let socket = "receive_on_unix_socket = true\nreceiver_unix_socket = \"r.sock\""
            let receiver = unix ? "[receiver]\n\(socket)\n" : Attacked.receiver()
            try await withProxy(Attacked.scrape() + receiver) { proxy in
                // 48 KiB for each, and a few messages.
                try await proxy.attack("kept-senders").expectHarmless(holding: 19 + 32, staying: 3, turns: 12)
            }
        }

        @Test("one byte now and then on every connection keeps others out no longer than message_timeout")
        func trickle() async throws {
            let exporter = Attacked.scrape("concurrent_requests = 16")
            try await withProxy(exporter + Attacked.receiver("message_timeout = \"2s\"\nidle_timeout = \"10m\"")) { proxy in
                let measured = try await proxy.attack("trickle", "hold=30")
                #expect(measured.attack.answer == "" && measured.attack.status == 200)
                #expect(measured.attack.waited ?? 60 < 20)
                try measured.expectHarmless(holding: 16, turns: 8)
            }
        }
    }
}
