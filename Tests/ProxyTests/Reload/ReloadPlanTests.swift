import Testing

@testable import Proxy

/// What runs under a configuration, by name of each part; a plan has to turn one into another.
private struct WhatRuns: Equatable {
    struct Polled: Equatable {
        var target: Target
        var files: [String: [UInt8]]
    }

    var doors: [Door: Int] = [:]
    var exporter = ExporterConfig()
    var receiver = ReceiverConfig()
    var files: [String: [UInt8]] = [:]
    var targets: [TargetURL: Polled] = [:]

    init() {}

    init(_ loaded: LoadedConfig) {
        for door in loaded.config.doors { doors[door, default: 0] += 1 }
        setExporter(loaded)
        setReceiver(loaded)
        for target in loaded.config.poll.targets { poll(target, loaded) }
    }

    mutating func apply(_ plan: ReloadPlan, _ new: LoadedConfig) {
        for door in plan.closes { doors[door] = doors[door] == 1 ? nil : (doors[door] ?? 0) - 1 }
        for door in plan.opens { doors[door, default: 0] += 1 }
        if plan.updatesExporter { setExporter(new) }
        if plan.updatesReceiver { setReceiver(new) }
        for url in plan.stops { targets[url] = nil }
        for target in plan.renames { targets[target.url]?.target.name = target.name }
        for target in plan.starts { poll(target, new) }
    }

    private mutating func setExporter(_ loaded: LoadedConfig) {
        exporter = loaded.config.exporter
        exporter.workerThreads = nil
        exporter.scrapeAddresses = []
        setFiles("exporter.", loaded)
    }

    private mutating func setReceiver(_ loaded: LoadedConfig) {
        receiver = loaded.config.receiver
        receiver.tcpSocket = nil
        receiver.unixSocket = nil
        setFiles("receiver.", loaded)
    }

    private mutating func setFiles(_ table: String, _ loaded: LoadedConfig) {
        files = files.filter { !$0.key.hasPrefix(table) }
        for reference in loaded.references where reference.key.hasPrefix(table) { files[reference.key] = loaded.files[reference.path] }
    }

    private mutating func poll(_ target: Target, _ loaded: LoadedConfig) {
        targets[target.url] = Polled(target: target, files: loaded.files.filter { target.files.contains($0.key) })
    }
}

@Suite("Reload plan")
struct ReloadPlanTests {
    @Test("applying the plan to what runs under the old configuration gives what runs under the new one", arguments: 0..<40)
    func givesTheNew(seed: Int) {
        var random = RandomConfig(seed: UInt64(seed))
        for _ in 0..<50 {
            let (old, new) = (random.loaded(), random.loaded())
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
    func fromNothing(seed: Int) {
        var random = RandomConfig(seed: UInt64(seed))
        let new = random.loaded()
        let plan = ReloadPlan(from: nil, to: new)
        var running = WhatRuns()
        running.apply(plan, new)
        #expect(running == WhatRuns(new))
        #expect(plan.opens == new.config.doors)
        #expect(plan.needsRestart.isEmpty)
    }

    @Test("nothing that did not change is named", arguments: 0..<40)
    func sparesTheRest(seed: Int) {
        var random = RandomConfig(seed: UInt64(seed))
        for _ in 0..<50 {
            let (old, new) = (random.loaded(), random.loaded())
            let plan = ReloadPlan(from: old, to: new)
            let (before, after) = (WhatRuns(old), WhatRuns(new))
            for (url, polled) in after.targets where before.targets[url] == polled {
                #expect(!plan.starts.contains { $0.url == url } && !plan.stops.contains(url) && !plan.renames.contains { $0.url == url })
            }
            for (door, count) in after.doors {
                // Of several listeners at one address with port 0 only those that are too many, or missing, are named.
                #expect(plan.opens.count { $0 == door } == max(0, count - (before.doors[door] ?? 0)))
            }
            if AccessRules.scrape(old) == AccessRules.scrape(new) { #expect(!plan.changesScrapeAccess) }
        }
    }

    @Test("positions and comments of the file are no difference")
    func positions() {
        var random = RandomConfig(seed: 1)
        let old = random.loaded()
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
            let targets = try ["/1", "/2"].map { path in
                Target(
                    url: TargetURL(origin: .http(host: "127.0.0.1", port: 1025), pathAndQuery: path), name: try #require(AppName(path)),
                    credentials: .basic(username: "me", password: .file(path)))
            }
            return LoadedConfig(
                config: Config(poll: PollConfig(targets: targets)), files: ["/1": Array("same".utf8), "/2": Array(password.utf8)],
                references: [FileReference(key: "poll_external.targets[1].basic_auth.password_file", path: "/2")],
                origin: ConfigOrigin(file: "config.toml"))
        }
        let plan = ReloadPlan(from: try loaded("old"), to: try loaded("new"))
        #expect(plan.starts.map(\.url.pathAndQuery) == ["/2"])
        #expect(plan.changes == ["poll_external.targets[1].basic_auth.password_file: /2 has new contents"])
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
