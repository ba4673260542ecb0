import Foundation
import Logging
import NIOCore
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
            let file = StateFile(Intake(store: store) { Self.now.moment }, metrics: metrics.stateFile, logger: Logger(label: "test"))
            let prepared = try await file.prepare(new, ReloadPlan(from: nil, to: new.loaded))
            #expect(store.snapshot(at: Self.now.moment).entries.map(\.name.description) == ["new"])
            await prepared.abandon()
        }
    }

    @Test("what could not be written is written the next time, although nothing has changed since")
    func again() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", "[receiver]\nstate_file = \"s\"\nstate_interval = \"100ms\"\n")
            let new = try PreparedConfig(ConfigLoader(file: folder.path("config.toml")).load())
            let store = MetricStore()
            let metrics = SelfMetrics(version: "1", start: Timestamp(nanoseconds: 0)) { nil }
            let file = StateFile(Intake(store: store) { Self.now.moment }, metrics: metrics.stateFile, logger: Logger(label: "test"))
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
