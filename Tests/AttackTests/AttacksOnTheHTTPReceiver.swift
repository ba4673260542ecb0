import TestSupport
import Testing

extension Attacks {
    @Suite("on the receiver of pushes over HTTP")
    struct OnTheHTTPReceiver {
        private static let config = Attacked.scrape() + Attacked.httpReceiver()
        /// Little memory for pushes, so that what is not counted shows.
        private static let inflight = Attacked.scrape() + Attacked.httpReceiver("max_inflight_size = \"64MiB\"")
        private static let tls =
            Attacked.scrape()
            + Attacked.httpReceiver(
                """
                max_inflight_size = "64MiB"
                tls = "optional"
                [receiver.tls_server_config]
                cert_file = "certs/server.pem"
                key_file = "certs/server-key.pem"
                """)

        @Test(
            "a body whose text as a group would be many times as large is refused before it takes much memory",
            arguments: [
                ["body=long-name", "kib=1024"], ["body=empty-metrics", "kib=4000"], ["body=empty-labels", "kib=4000"],
                ["body=empty-points", "kib=4000"], ["body=text-families", "kib=4000", "labels=230"], ["body=same-samples", "kib=4000"],
            ])
        func largeGroups(parameters: [String]) async throws {
            try await withProxy(Self.inflight) { proxy in
                let measured = try await proxy.attack("groups", parameters: parameters + ["hold=1"])
                #expect(measured.attack.statuses?.keys.sorted() == ["413"], "\(measured.attack)")
                try measured.expectHarmless(holding: 80, turns: 4)
            }
        }

        @Test("a group that is as large as allowed, and pushes that change a little of it, take no more than is counted")
        func giantGroup() async throws {
            try await withProxy(Self.inflight) { proxy in
                let measured = try await proxy.attack("giant-group", "mib=1", "parts=2", "hold=1")
                #expect(measured.attack.statuses?.keys.sorted() == ["200"], "\(measured.attack)")
                try measured.expectHarmless(holding: 80, staying: 8, turns: 4)
            }
        }

        @Test("tiny pushes to a large group do not keep others' large pushes waiting, and are dropped with their connections")
        func mergedGroups() async throws {
            try await withProxy(Self.config) { proxy in
                let measured = try await proxy.attack("merged-groups")
                #expect(measured.attack.statuses == ["204": 1], "\(measured.attack)")
                // Two of the merges may have begun.
                #expect(measured.attack.took ?? .infinity < 10, "\(measured.attack)")
                try measured.expectHarmless(holding: 256, staying: 99, turns: 12)
            }
        }

        @Test("announced bodies do not keep out small pushes")
        func announcedBodies() async throws {
            try await withProxy(Self.inflight) { proxy in
                try await proxy.attack("announced-bodies", "hold=1").expectHarmless(holding: 48, turns: 16)
            }
        }

        @Test("bodies that are almost complete take no more than max_inflight_size together, and do not keep out small pushes")
        func halfBodies() async throws {
            try await withProxy(Self.inflight) { proxy in
                let measured = try await proxy.attack("half-bodies", "hold=1")
                #expect(measured.rejected?["too_much_in_flight"] ?? 0 > 0, "\(measured.rejected ?? [:])")
                try measured.expectHarmless(holding: 80, turns: 12)
            }
        }

        @Test("connections that have pushed something large and stay open hold no read buffers", arguments: [0, 1])
        func keptPushers(tls: Int) async throws {
            try await withProxy(Self.tls, certificates: true) { proxy in
                let measured = try await proxy.attack("kept-pushers", "tls=\(tls)")
                #expect(measured.attack.statuses == ["204": 400], "\(measured.attack)")
                // 48 KiB for each, and a few messages.
                try measured.expectHarmless(holding: 19 + 24, staying: 3, turns: 12)
            }
        }

        @Test("half bodies and tiny chunks in TLS hurt no more", arguments: [["half-bodies", "mib=4"], ["tiny-chunks", "chunks=200000"]])
        func inTLS(attack: [String]) async throws {
            try await withProxy(Self.tls, certificates: true) { proxy in
                let measured = try await proxy.attack(attack[0], parameters: Array(attack.dropFirst()) + ["hold=1", "tls=1"])
                try measured.expectHarmless(holding: 80 + 16, turns: 12)
            }
        }

        @Test("bodies of tiny chunks get their share of an event loop, then it is the turn of others")
        func tinyChunks() async throws {
            try await withProxy(Self.config) { proxy in
                try await proxy.attack("tiny-chunks", "chunks=200000", "hold=1").expectHarmless(holding: 48, turns: 4)
            }
        }

        @Test(
            "bodies in gzip that are much larger uncompressed, or have members without end, take what is counted",
            arguments: [("bomb", 40, 64), ("fits", 40, 15), ("empty", 4, 4), ("stored", 4, 4)])
        func zippedBodies(kind: String, pushers: Int, mebibytes: Int) async throws {
            try await withProxy(Self.inflight) { proxy in
                let measured = try await proxy.attack("zipped", "kind=\(kind)", "pushers=\(pushers)", "mib=\(mebibytes)", "hold=1")
                try measured.expectHarmless(holding: 80, turns: 12)
            }
        }

        @Test(
            "bodies that are small enough for an event loop take a short turn each, whatever is in them",
            arguments: [
                ("objects", 63), ("object-apps", 63), ("apps", 63), ("text-families", 15), ("text-histograms", 15), ("many-labels", 15),
                ("long-name", 15), ("empty-labels", 15),
            ])
        func smallBodies(body: String, kibibytes: Int) async throws {
            try await withProxy(Self.config) { proxy in
                let measured = try await proxy.attack("small-bodies", "body=\(body)", "kib=\(kibibytes)", "pushers=2", "hold=1")
                try measured.expectHarmless(holding: 32, staying: 16, turns: 3)
            }
        }

        @Test("a small body of short lines that app_label makes a hundred times as long is not labelled on an event loop")
        func labelledBodies() async throws {
            try await withProxy(Self.config + "[metrics]\napp_label = \"app\"\n") { proxy in
                let measured = try await proxy.attack("small-bodies", "body=lines", "kib=63", "pushers=2", "hold=1")
                #expect(measured.attack.statuses?.keys.sorted() == ["204"], "\(measured.attack)")
                try measured.expectHarmless(holding: 96, staying: 16, turns: 3)
            }
        }

        @Test(
            "pushes, deletions and errors by the thousand in one read get their share, with answers that are read or not",
            arguments: [("both", 1), ("groups", 1), ("wrong", 1), ("wrong", 0)])
        func pipelinedPushes(kind: String, reads: Int) async throws {
            try await withProxy(Self.config) { proxy in
                let measured = try await proxy.attack("pipelined-pushes", "kind=\(kind)", "reads=\(reads)", "hold=1")
                try measured.expectHarmless(holding: 32, staying: 1, turns: 3)
            }
        }

        @Test("long heads take a short turn each, whatever is in them", arguments: ["type", "path", "base64", "origin"])
        func longHeads(kind: String) async throws {
            try await withProxy(Self.config) { proxy in
                try await proxy.attack("heavy-heads", "kind=\(kind)", "pushers=2", "hold=1").expectHarmless(holding: 16, turns: 3)
            }
        }

        @Test("a message of as many apps as are allowed does not stall others")
        func allApps() async throws {
            try await withProxy(Self.config) { proxy in
                let measured = try await proxy.attack("all-apps", "times=3", "hold=30")
                #expect(measured.attack.statuses == ["204": 3], "\(measured.attack)")
                try measured.expectHarmless(holding: 128, staying: 99, turns: 4)
            }
        }

        /// At a low cost, so that the checks of connections that are gone end soon.
        @Test("wrong passwords with large bodies behind them do not disturb a pusher that is known")
        func guessedPushes() async throws {
            let users = OnTheScrapeSide.users.replacing("[exporter.", with: "[receiver.")
            try await withProxy(Self.config + users) { proxy in
                let password = "Basic cHJvbTpvcGVuZXNhbWU="
                let measured = try await proxy.attack("guessed-pushes", "hold=1", pushing: password)
                #expect(measured.rejected?["unauthorized"] ?? 0 > 0, "\(measured.rejected ?? [:])")
                // What is read before the password is checked counts as held for reading, 64 MiB at most.
                try measured.expectHarmless(holding: 80, turns: 12)
            }
        }

        @Test("connections that are reset within a body or while it is decoded leave nothing behind", arguments: ["body", "decoding"])
        func resets(at place: String) async throws {
            try await withProxy(Self.inflight) { proxy in
                try await proxy.attack("reset-pushes", "at=\(place)", "hold=1").expectHarmless(holding: 80, staying: 8, turns: 12)
            }
        }

        @Test(
            "requests that two readers could read in two ways are refused, and the connection ends",
            arguments: [
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "Content-Length: 4\r\nContent-Length: 4\r\n",
                "Content-Length: 4\r\nContent-Length: 5\r\n", "Content-Length: 4, 4\r\n", "Content-Length: +4\r\n",
                "Content-Length: 0x4\r\n", "Content-Length : 4\r\n", "Content-Length: 4\r\n X: y\r\n",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n",
                "Transfer-Encoding: x\r\nContent-Length: 4\r\n", "Transfer-Encoding : chunked\r\n",
            ])
        func framing(fields: String) async throws {
            try await withProxy(Self.config) { proxy in
                let connection = try RawConnection(to: proxy.pushes)
                try connection.send("PUT /apps/smuggled HTTP/1.1\r\nHost: a\r\n\(fields)\r\na 1\n")
                let refused = try await connection.response()
                #expect([400, 501].contains(refused.status), "\(refused)")
                #expect(refused.head.lowercased().contains("connection: close"))
                let scrape = try RawConnection(to: proxy.scrape)
                #expect(try await scrape.get("/apps/smuggled").status == 404)
            }
        }

        @Test(
            "a push that a browser sends for another site changes nothing",
            arguments: ["Sec-Fetch-Site: cross-site", "Origin: http://elsewhere.example", "Origin: null", "Sec-Fetch-Site: same-site"])
        func crossSite(field: String) async throws {
            try await withProxy(Self.config) { proxy in
                let connection = try RawConnection(to: proxy.pushes)
                try connection.send("PUT /apps/victim HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nv 1\n")
                #expect(try await connection.response().status == 204)
                for line in [
                    "PUT /apps/victim", "DELETE /apps/victim", "POST /apps", "PUT /metrics/job/j", "POST /metrics/job/j",
                    "DELETE /metrics/job/j",
                ] {
                    try connection.send("\(line) HTTP/1.1\r\nHost: localhost\r\n\(field)\r\nContent-Length: 4\r\n\r\nx 1\n")
                    let refused = try await connection.response()
                    #expect(refused.status == 403, "\(line): \(refused)")
                }
                let scrape = try RawConnection(to: proxy.scrape)
                #expect(try await scrape.get("/metrics?app=victim").body == "v 1\n")
            }
        }
    }
}
