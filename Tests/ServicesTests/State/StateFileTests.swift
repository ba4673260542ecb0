import Logging
import NIOCore
import Proxy
import TestSupport
import Testing

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
}
