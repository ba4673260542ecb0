import Testing

@testable import Proxy

/// What runs under a configuration, by name of each part; a plan has to turn one into another.
private struct WhatRuns: Equatable {
    var listeners: [ListenerIdentity: Int] = [:]
    var exporter = ExporterConfig()
    var receiver = ReceiverConfig()
    var metrics = MetricsConfig()
    var maxInflightSize = ByteCount(0)
    var targets: [TargetURL: Target] = [:]

    init() {}

    init(_ loaded: LoadedConfig) {
        for listener in loaded.config.listeners { listeners[listener, default: 0] += 1 }
        setExporter(loaded)
        setReceiver(loaded)
        setMetrics(loaded)
        for target in loaded.config.poll.targets { targets[target.url] = target }
    }

    mutating func apply(_ plan: ReloadPlan, _ new: LoadedConfig) {
        for listener in plan.closes { listeners[listener] = listeners[listener] == 1 ? nil : (listeners[listener] ?? 0) - 1 }
        for listener in plan.opens { listeners[listener, default: 0] += 1 }
        if plan.changesSettings {
            setExporter(new)
            setReceiver(new)
            setMetrics(new)
        }
        for url in plan.stops { targets[url] = nil }
        for target in plan.renames { targets[target.url]?.name = target.name }
        for target in plan.starts { targets[target.url] = target }
    }

    private mutating func setExporter(_ loaded: LoadedConfig) {
        exporter = loaded.config.exporter
        exporter.workerThreads = nil
        exporter.scrapeAddresses = []
    }

    private mutating func setReceiver(_ loaded: LoadedConfig) {
        receiver = loaded.config.receiver
        receiver.tcpSocket = nil
        receiver.unixSocket = nil
    }

    private mutating func setMetrics(_ loaded: LoadedConfig) {
        metrics = loaded.config.metrics
        maxInflightSize = loaded.config.poll.maxInflightSize
    }
}

@Suite("Reload plan")
struct ReloadPlanTests {
    @Test("applying the plan to what runs under the old configuration gives what runs under the new one", arguments: 0..<40)
    func givesTheNew(seed: Int) throws {
        var random = RandomConfig(seed: UInt64(seed))
        for _ in 0..<50 {
            let (old, new) = try (random.loaded(), random.loaded())
            let plan = ReloadPlan(from: old, to: new)
            var running = WhatRuns(old)
            running.apply(plan, new)
            #expect(running == WhatRuns(new))
            #expect(plan.isEmpty == (WhatRuns(old) == WhatRuns(new)))
            #expect(plan.isEmpty == plan.changes.isEmpty, "each change is told: \(plan)")
            #expect(plan.needsRestart.isEmpty == (old.config.exporter.workerThreads == new.config.exporter.workerThreads))
        }
    }

    @Test("the way from nothing opens and polls all there is", arguments: 0..<40)
    func fromNothing(seed: Int) throws {
        var random = RandomConfig(seed: UInt64(seed))
        let new = try random.loaded()
        let plan = ReloadPlan(from: nil, to: new)
        var running = WhatRuns()
        running.apply(plan, new)
        #expect(running == WhatRuns(new))
        #expect(plan.opens == new.config.listeners)
        #expect(plan.needsRestart.isEmpty)
    }

    @Test("nothing that did not change is named", arguments: 0..<40)
    func sparesTheRest(seed: Int) throws {
        var random = RandomConfig(seed: UInt64(seed))
        for _ in 0..<50 {
            let (old, new) = try (random.loaded(), random.loaded())
            let plan = ReloadPlan(from: old, to: new)
            let (before, after) = (WhatRuns(old), WhatRuns(new))
            for (url, polled) in after.targets where before.targets[url] == polled {
                #expect(!plan.starts.contains { $0.url == url } && !plan.stops.contains(url) && !plan.renames.contains { $0.url == url })
            }
            for (listener, count) in after.listeners {
                // Of several listeners at one address with port 0 only those that are too many, or missing, are named.
                #expect(plan.opens.count { $0 == listener } == max(0, count - (before.listeners[listener] ?? 0)))
            }
            if AccessRules.scrape(old.config) == AccessRules.scrape(new.config) { #expect(!plan.changesScrapeAccess) }
        }
    }

    @Test("positions and comments of the file are no difference")
    func positions() throws {
        var random = RandomConfig(seed: 1)
        let old = try random.loaded()
        var new = old
        new.origin.positions = ["exporter.tls": ConfigPosition(line: 7, column: 3)]
        #expect(ReloadPlan(from: old, to: new).isEmpty)
    }

    @Test("a target that only gets another name is not polled anew")
    func rename() throws {
        let url = TargetURL(origin: .http(host: "127.0.0.1", port: 1025), pathAndQuery: "/metrics")
        func loaded(_ name: String) throws -> LoadedConfig {
            let target = Target(url: url, name: try #require(AppName(name)))
            return LoadedConfig(config: Config(poll: PollConfig(targets: [target])), origin: ConfigOrigin(file: "config.toml"))
        }
        let plan = ReloadPlan(from: try loaded("old"), to: try loaded("new"))
        #expect(plan.starts.isEmpty && plan.stops.isEmpty)
        #expect(plan.renames.map(\.name.description) == ["new"])
        #expect(plan.changes == ["target old is now named new"])
    }

    @Test("a password file with other bytes makes its target, and no other, begin anew")
    func passwordFile() throws {
        func loaded(_ password: String) throws -> LoadedConfig {
            try loadedConfig(
                """
                [poll_external]
                poll_other_scrape_endpoints = true
                targets = [
                    { url = "http://127.0.0.1:1025/1", name = "1", basic_auth = { username = "me", password_file = "/1" } },
                    { url = "http://127.0.0.1:1025/2", name = "2", basic_auth = { username = "me", password_file = "/2" } },
                ]
                """, files: ["/1": Array("same".utf8), "/2": Array(password.utf8)])
        }
        let plan = ReloadPlan(from: try loaded("old"), to: try loaded("new"))
        #expect(plan.starts.map(\.url.pathAndQuery) == ["/2"])
        #expect(plan.changes == ["poll_external.targets[1].basic_auth.password_file: /2 has new contents"])
    }

    @Test("a text that only writes its accent in another way has changed: a server or a file system takes one of both")
    func accents() throws {
        let url = try TargetURL.parse("http://localhost:1/metrics").url
        func loaded(_ change: (inout Config, inout Target) -> Void) throws -> LoadedConfig {
            var config = Config()
            var target = Target(url: url, name: try #require(AppName("t")))
            change(&config, &target)
            config.poll.targets = [target]
            return LoadedConfig(config: config, origin: ConfigOrigin(file: "config.toml"))
        }
        func plan(_ change: (String, inout Config, inout Target) -> Void) throws -> ReloadPlan {
            let (one, two) = ("\u{E9}", "e\u{301}")
            return ReloadPlan(
                from: try loaded { change(one, &$0, &$1) }, to: try loaded { change(two, &$0, &$1) })
        }
        #expect(try plan { $2.credentials = .basic(username: "u", password: .literal($0)) }.starts.count == 1)
        #expect(try plan { $2.credentials = .basic(username: $0, password: .literal("p")) }.starts.count == 1)
        #expect(try plan { $2.credentials = .authorization(type: "Bearer", credentials: .literal($0)) }.starts.count == 1)
        #expect(try plan { $2.headers = [Target.Header(name: "X", value: $0)] }.starts.count == 1)
        #expect(try plan { $2.labels = [Target.Label(name: "x", value: $0)] }.starts.count == 1)
        #expect(try plan { text, config, _ in config.receiver.unixSocket = UnixSocketConfig(path: text) }.opens.count == 1)
        #expect(try plan { _, _, _ in }.isEmpty)
    }

    @Test("a socket's mode needs a new socket in its place, told as one change")
    func socketMode() {
        func loaded(_ mode: UInt16) -> LoadedConfig {
            var config = Config()
            config.receiver.unixSocket = UnixSocketConfig(path: "a.sock", mode: mode)
            return LoadedConfig(config: config, origin: ConfigOrigin(file: "config.toml"))
        }
        let plan = ReloadPlan(from: loaded(0o660), to: loaded(0o600))
        #expect(plan.opens.count == 1 && plan.closes.count == 1)
        #expect(plan.changes == ["Unix receiver a.sock: owner, group or mode has changed"])
    }
}
