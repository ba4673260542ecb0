import Foundation
import Logging
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Proxy
@testable import Services

@Suite("State file")
struct StateFileTests {
    private static let now = SavedApps.Writing(moment: SystemClock.now(), boot: "boot")

    private func app(_ name: String, size: Int) throws -> AppEntry {
        AppEntry(
            name: try #require(AppName(name)), source: .push(listener: "l"), lastUpdate: Self.now.moment,
            exposition: Exposition(addingNewlineTo: ByteBuffer(repeating: UInt8(ascii: "x"), count: size)), state: .ok)
    }

    @Test("after an app that does not fit, older apps are left out too, also small ones")
    func leftOut() async throws {
        try await withTemporaryFolder { folder in
            _ = try SavedFile(folder.path("s")).write([app("new", size: 10), app("large", size: 1000), app("old", size: 10)], at: Self.now)
            try folder.write("config.toml", "[receiver]\nstate_file = \"s\"\n")
            let new = try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
            let store = MetricStore(limits: StoreLimits(maxTotalSize: ByteCount(100)))
            let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
            let file = StateFile(
                Intake(store: store) { Self.now.moment }, metrics: metrics.stateFile, blockingWork: .ofTests,
                group: MultiThreadedEventLoopGroup.singleton,
                logger: Logger(label: "test"))
            let prepared = try await file.prepare(new, ReloadPlan(from: nil, to: new.loaded))
            #expect(store.snapshot(at: Self.now.moment).entries.map(\.name.description) == ["new"])
            await prepared.abandon()
        }
    }

    private func stateFile(_ logger: Logger = Logger(label: "test")) -> StateFile {
        let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
        return StateFile(
            Intake(store: MetricStore()) { Self.now.moment }, metrics: metrics.stateFile, blockingWork: .ofTests,
            group: MultiThreadedEventLoopGroup.singleton,
            logger: logger)
    }

    @Test("the log has the duration of a write in whole milliseconds, as that of a reload")
    func durationOfAWrite() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", "[receiver]\nstate_file = \"s\"\n")
            let new = try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
            let lines = LogLines()
            // Without a file, the start writes one.
            let prepared = try await stateFile(lines.logger).prepare(new, ReloadPlan(from: nil, to: new.loaded))
            await prepared.abandon()
            let written = lines.all.filter { $0.hasPrefix("debug state file written ") }
            #expect(written.count == 1 && written.allSatisfy { $0.contains(#/duration=[0-9]+ms file=/#) }, "\(lines.all)")
        }
    }

    @Test("a start that is cancelled reads no app, and leaves the file as it is")
    func cancelled() async throws {
        try await withTemporaryFolder { folder in
            _ = try SavedFile(folder.path("s")).write([app("a", size: 10)], at: Self.now)
            let before = FileManager.default.contents(atPath: folder.path("s"))
            try folder.write("config.toml", "[receiver]\nstate_file = \"s\"\n")
            let new = try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
            let file = stateFile()
            let starting = Task {
                while !Task.isCancelled { await Task.yield() }
                return try await file.prepare(new, ReloadPlan(from: nil, to: new.loaded))
            }
            starting.cancel()
            let result = await starting.result
            #expect(throws: ConfigProblems.self) { try result.get() }
            #expect(FileManager.default.contents(atPath: folder.path("s")) == before)
            #expect(!folder.contains("s.broken"))
        }
    }

    @Test("a damaged file that cannot be moved aside ends the start, and stays as it is")
    func notMovedAside() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", "[receiver]\nstate_file = \"s\"\n")
            let new = try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
            try folder.write("s", "precious")
            // No file can take the place of a folder. It comes after the configuration was checked.
            try folder.write("s.broken/other", "x")
            do throws(ConfigProblems) {
                let prepared = try await stateFile().prepare(new, ReloadPlan(from: nil, to: new.loaded))
                await prepared.abandon()
                Issue.record("the start went on")
            } catch {
                #expect("\(error)".contains("cannot move it to \(folder.path("s.broken"))"), "\(error)")
            }
            #expect(try String(contentsOfFile: folder.path("s"), encoding: .utf8) == "precious")
        }
    }

    @Test("of two that start at the same time without a file, one fails to start")
    func simultaneousStarts() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", "[receiver]\nstate_file = \"s\"\n")
            let new = try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
            // Each round is a race. In most of them, both find no file.
            for _ in 0..<100 {
                let prepared = await withTaskGroup(of: PreparedPart?.self, returning: [PreparedPart].self) { group in
                    for _ in 0..<2 {
                        let file = stateFile()
                        group.addTask { try? await file.prepare(new, ReloadPlan(from: nil, to: new.loaded)) }
                    }
                    var prepared: [PreparedPart] = []
                    for await case let part? in group { prepared.append(part) }
                    return prepared
                }
                #expect(prepared.count == 1)
                for part in prepared { await part.abandon() }
                try FileManager.default.removeItem(atPath: folder.path("s"))
            }
        }
    }

    @Test(
        "a path that the configuration names elsewhere is an error, under any name",
        arguments: [
            ("config.toml", "this configuration file"), ("./config.toml", "this configuration file"),
            ("link.toml", "this configuration file"),
            ("hard.toml", "this configuration file"), ("config/config.toml", "this configuration file"),
            ("r.sock", "receiver.receiver_unix_socket"), ("folder/r.sock", "receiver.receiver_unix_socket"),
            ("password", "exporter.tls_server_config.key_password_file"),
            ("folder/password", "exporter.tls_server_config.key_password_file"),
            ("key.pem", "exporter.tls_server_config.key_file"), ("ca.pem", "poll_external.tls_config.ca_file"),
        ])
    func otherUse(path: String, use: String) async throws {
        try await withTemporaryFolder { folder in
            for name in ["password", "key.pem", "cert.pem", "ca.pem"] { try folder.write(name, "x") }
            try folder.write(
                "config.toml",
                """
                [exporter]
                scrape_expose_endpoint = "127.0.0.1:0"
                [exporter.tls_server_config]
                cert_file = "cert.pem"
                key_file = "key.pem"
                key_password_file = "password"
                [receiver]
                receive_on_unix_socket = true
                receiver_unix_socket = "r.sock"
                state_file = "\(path)"
                [poll_external]
                poll_other_scrape_endpoints = true
                other_scrape_endpoints = ["https://localhost:1/metrics"]
                [poll_external.tls_config]
                ca_file = "ca.pem"
                """)
            try #require(symlink("config.toml", folder.path("link.toml")) == 0)
            try #require(link(folder.path("config.toml"), folder.path("hard.toml")) == 0)
            for name in ["folder", "config"] { try #require(symlink(".", folder.path(name)) == 0) }
            let problems = ConfigLoader(file: folder.path("config.toml")).check().map(\.message)
            let expected =
                "receiver.state_file \(folder.path(path.replacing("./", with: ""))): it is also the path of \(use): the state needs a file of its own"
            #expect(problems.contains(expected), "\(problems)")
        }
    }

    @Test(
        "a path is also compared with those that are not in use now",
        arguments: [
            ("tls = \"off\"", "exporter.tls_server_config.key_file"),
            ("poll_other_scrape_endpoints = false", "poll_external.tls_config.ca_file"),
            ("receive_on_unix_socket = false", "receiver.receiver_unix_socket"),
        ])
    func unused(setting: String, key: String) async throws {
        try await withTemporaryFolder { folder in
            let table = key.prefix { $0 != "." }
            try folder.write(
                "config.toml",
                """
                exporter.scrape_expose_endpoint = "127.0.0.1:0"
                receiver.state_file = "other"
                \(table).\(setting)
                \(key) = "other"
                """)
            let problems = ConfigLoader(file: folder.path("config.toml")).check().map(\.message)
            let expected = "receiver.state_file \(folder.path("other")): it is also the path of \(key): the state needs a file of its own"
            #expect(problems.contains(expected), "\(problems)")
        }
    }

    @Test("a new file beside them is none of them")
    func ownUse() async throws {
        try await withTemporaryFolder { folder in
            try folder.write(
                "config.toml", "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[receiver]\nstate_file = \"apps.state\"\n")
            #expect(ConfigLoader(file: folder.path("config.toml")).check() == [])
        }
    }

    private func prepared(_ stateFile: String, in folder: TemporaryFolder) throws -> PreparedConfig {
        try folder.write("config.toml", "[receiver]\nstate_file = \"\(stateFile)\"\n")
        return try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
    }

    @Test("a reload to a file that cannot be opened is refused: no write could replace it")
    func reloadToUnreadableFile() async throws {
        try await withTemporaryFolder { folder in
            let (old, new) = (try prepared("s", in: folder), try prepared("t", in: folder))
            let file = stateFile()
            try await file.prepare(old, ReloadPlan(from: nil, to: old.loaded)).commit()
            // Also root cannot open a socket. It comes after the configuration was checked.
            #expect(mknod(folder.path("t"), S_IFSOCK | 0o600, 0) == 0)
            do throws(ConfigProblems) {
                let prepared = try await file.prepare(new, ReloadPlan(from: old.loaded, to: new.loaded))
                await prepared.abandon()
                Issue.record("the reload went on")
            } catch {
                #expect("\(error)".contains("receiver.state_file \(folder.path("t")): cannot read it: "), "\(error)")
            }
            _ = await file.stop(within: .zero)
        }
    }

    @Test("a reload to a file of another program is refused, and the file stays; one to an empty or damaged state file is not")
    func reloadToForeignFile() async throws {
        try await withTemporaryFolder { folder in
            let (old, new) = (try prepared("s", in: folder), try prepared("t", in: folder))
            let file = stateFile()
            try await file.prepare(old, ReloadPlan(from: nil, to: old.loaded)).commit()
            try folder.write("t", "precious")
            do throws(ConfigProblems) {
                let prepared = try await file.prepare(new, ReloadPlan(from: old.loaded, to: new.loaded))
                await prepared.abandon()
                Issue.record("the reload went on")
            } catch {
                #expect(error.problems.map(\.position) == [ConfigPosition(line: 2, column: 14)])
                let expected = "receiver.state_file \(folder.path("t")): it is not a state file of exporter-proxy"
                #expect("\(error)".contains(expected), "\(error)")
            }
            #expect(try String(contentsOfFile: folder.path("t"), encoding: .utf8) == "precious")
            for (name, contents) in [("empty", ""), ("cut", "exporter-proxy st"), ("damaged", "exporter-proxy state, later")] {
                try folder.write(name, contents)
                let damaged = try prepared(name, in: folder)
                try await file.prepare(damaged, ReloadPlan(from: old.loaded, to: damaged.loaded)).abandon()
            }
            _ = await file.stop(within: .zero)
        }
    }

    @Test("check warns of a file of another program, and not of an empty or damaged state file")
    func foreignFileInCheck() async throws {
        try await withTemporaryFolder { folder in
            try folder.write(
                "config.toml", "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[receiver]\nstate_file = \"apps.state\"\n")
            let check = { (contents: String) throws -> [ConfigProblem] in
                try folder.write("apps.state", contents)
                return ConfigLoader(file: folder.path("config.toml")).check()
            }
            let problems = try check("precious")
            #expect(problems.map(\.severity) == [.warning])
            #expect(problems.first?.position?.line == 4)
            let words = "it is not a state file of exporter-proxy: a start moves it to \(folder.path("apps.state")).broken"
            #expect(problems.first?.message.contains(words) == true, "\(problems)")
            for contents in ["", "exporter-proxy st", "exporter-proxy state, later"] { #expect(try check(contents) == []) }
        }
    }

    @Test("writes that fail for one reason are warned about once, the next success is logged, and so is the failure of a stop")
    func warnings() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", "[receiver]\nstate_file = \"s\"\nstate_interval = \"100ms\"\n")
            let new = try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
            let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
            let log = LogLines()
            let store = MetricStore()
            let file = StateFile(
                Intake(store: store) { Self.now.moment }, metrics: metrics.stateFile, blockingWork: .ofTests,
                group: MultiThreadedEventLoopGroup.singleton, logger: log.logger)
            let lines = { (message: String) in log.all.filter { $0.contains(message) } }
            try await file.prepare(new, ReloadPlan(from: nil, to: new.loaded)).commit()
            for round in 1...2 {
                // No file can take the place of a folder.
                try FileManager.default.removeItem(atPath: folder.path("s"))
                try FileManager.default.createDirectory(atPath: folder.path("s"), withIntermediateDirectories: false)
                let app = (try #require(AppName("a")), Exposition(addingNewlineTo: ByteBuffer(string: "a \(round)")))
                try store.apply(Push(apps: [app]), from: .push(listener: "l"), at: Self.now.moment)
                let before = metrics.stateFile.now?.failures ?? 0
                try await wait(for: "three writes to fail") { (metrics.stateFile.now?.failures ?? 0) >= before + 3 }
                #expect(lines("warning cannot write the state file").count == round)
                #expect(lines("notice the state file is written again").count == round - 1)
                guard round == 1 else { continue }
                try FileManager.default.removeItem(atPath: folder.path("s"))
                try await wait(for: "the next write") { lines("notice the state file is written again").count == 1 }
            }
            _ = await file.stop(within: .zero)
            #expect(lines("warning cannot write the state file").count == 3)
        }
    }

    @Test("what could not be written is written the next time, although nothing has changed since")
    func again() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", "[receiver]\nstate_file = \"s\"\nstate_interval = \"100ms\"\n")
            let new = try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
            let store = MetricStore()
            let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
            let file = StateFile(
                Intake(store: store) { Self.now.moment }, metrics: metrics.stateFile, blockingWork: .ofTests,
                group: MultiThreadedEventLoopGroup.singleton,
                logger: Logger(label: "test"))
            try await file.prepare(new, ReloadPlan(from: nil, to: new.loaded)).commit()
            // No file can take the place of a folder.
            try FileManager.default.removeItem(atPath: folder.path("s"))
            try FileManager.default.createDirectory(atPath: folder.path("s"), withIntermediateDirectories: false)
            let app = (try #require(AppName("a")), Exposition(addingNewlineTo: ByteBuffer(string: "a 1")))
            try store.apply(Push(apps: [app]), from: .push(listener: "l"), at: Self.now.moment)
            try await wait(for: "a write to fail") { (metrics.stateFile.now?.failures ?? 0) > 0 }
            try FileManager.default.removeItem(atPath: folder.path("s"))
            try await wait(for: "the next write") { folder.contains("s") }
            _ = await file.stop(within: .zero)
        }
    }
}
