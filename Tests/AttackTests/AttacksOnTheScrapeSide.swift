import TestSupport
import Testing

extension Attacks {
    @Suite("on the scrape side")
    struct OnTheScrapeSide {
        private static let both = Attacked.scrape() + Attacked.receiver()
        static let users = """
            [exporter.basic_auth_users]
            prom = "$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"

            """

        @Test(
            "many requests and an incomplete last one take no memory, without a password too",
            arguments: [false, true])
        func unfinishedRequests(password: Bool) async throws {
            try await withProxy(Attacked.scrape() + (password ? Self.users : "") + Attacked.receiver()) { proxy in
                let measured = try await proxy.attack(
                    "unfinished-requests", "mib=32", "seconds=15", "path=\(password ? "/metrics" : "/-/healthy")",
                    authorization: password ? "Basic cHJvbTpvcGVuZXNhbWU=" : nil)
                try measured.expectHarmless(holding: 8)
            }
        }

        @Test("heads that never end are held within the limit of a head")
        func unfinishedHeads() async throws {
            try await withProxy(Self.both) { proxy in
                try await proxy.attack("unfinished-heads").expectHarmless(holding: 16)
            }
        }

        @Test("a request's body that never ends is thrown away as it comes")
        func endlessBodies() async throws {
            try await withProxy(Self.both) { proxy in
                try await proxy.attack("endless-bodies", "mib=16").expectHarmless(holding: 8)
            }
        }

        @Test("a search for two thousand words does not stall others")
        func search() async throws {
            try await withProxy(Self.both) { proxy in
                try await proxy.attack("search").expectHarmless(holding: 64)
            }
        }

        @Test("HEAD of large pages makes no page, or makes it beside the event loop", arguments: ["/apps", "/sd"])
        func headsOfPages(path: String) async throws {
            try await withProxy(Self.both) { proxy in
                try await proxy.attack("heads-of-pages", "apps=5000", "path=\(path)").expectHarmless(holding: 96, turns: 4)
            }
        }

        @Test(
            "pipelined requests get their share, then it is the turn of others",
            arguments: [("GET", "/-/healthy"), ("GET", "/metrics"), ("GET", "/nothing"), ("HEAD", "/sd")])
        func pipelining(method: String, path: String) async throws {
            try await withProxy(Self.both) { proxy in
                let measured = try await proxy.attack("pipelining", "method=\(method)", "path=\(path)", "seconds=5")
                // One connection's turn, that of the other, and the witness's own.
                try measured.expectHarmless(holding: 32, turns: 3)
            }
        }

        @Test(
            "requests on hundreds of connections of one address do not keep others waiting, whatever they cost",
            arguments: ["path=/apps?format=html", "path=/collisions", "accept=15000"])
        func crowd(request: String) async throws {
            try await withProxy(Self.both) { proxy in
                try await proxy.attack("crowd", request).expectHarmless(holding: 64, turns: 3)
            }
        }

        @Test("pipelined requests for the page of apps get their share too")
        func pipelinedPages() async throws {
            try await withProxy(Self.both) { proxy in
                try await proxy.attack("pipelining", "seconds=5").expectHarmless(holding: 32, turns: 3)
            }
        }

        @Test(
            "readers that take nothing hold no more than max_held_size together",
            arguments: ["/apps", "/sd", "/apps?format=json"])
        func idleReaders(path: String) async throws {
            try await withProxy(Attacked.scrape("max_held_size = \"32MiB\"") + Attacked.receiver()) { proxy in
                // Each answer is about 3 MB.
                let measured = try await proxy.attack("idle-readers", "apps=6000", "path=\(path)", "hold=2")
                try measured.expectHarmless(holding: 32 + 64, turns: 4)
            }
        }

        @Test("slow readers of generations that are gone hold no more than max_held_size beyond the store")
        func slowReaders() async throws {
            try await withProxy(Attacked.scrape("max_held_size = \"32MiB\"") + Attacked.receiver()) { proxy in
                // A store of 16 MB in 16 generations.
                let measured = try await proxy.attack("slow-readers", "generations=16")
                try measured.expectHarmless(holding: 32 + 64, turns: 4)
            }
        }

        @Test("clients that ask for more than they take, send much more and end their side are read no further")
        func endedSenders() async throws {
            try await withProxy(Self.both) { proxy in
                try await proxy.attack("ended-senders").expectHarmless(holding: 48, turns: 4)
            }
        }

        @Test("connections that send nothing cost little each")
        func idleConnections() async throws {
            try await withProxy(Self.both) { proxy in
                try await proxy.attack("idle-connections").expectHarmless(holding: 24, turns: 16)
            }
        }
    }
}
