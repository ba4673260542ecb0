import Dispatch
import Logging
import Proxy
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("Daemon")
struct DaemonTests {
    @Test("a stop does not wait for the reading of a file that does not answer")
    func slowReading() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("config.toml", "[exporter]\nworker_threads = 1\nscrape_expose_endpoint = \"127.0.0.1:0\"\n")
            let loaded = try ConfigLoader(file: folder.path("config.toml")).load()
            let daemon = Daemon(loaded, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            try await daemon.start()
            let hasBegun = Atomic(false)
            let hasStopped = Atomic(false)
            let answer = DispatchSemaphore(value: 0)
            // Also when the test fails: otherwise the thread would never end.
            defer { answer.signal() }
            Task {
                try? await daemon.runBlocking {
                    hasBegun.store(true, ordering: .relaxed)
                    answer.wait()
                }
            }
            try await wait(for: "the reading to begin") { hasBegun.load(ordering: .relaxed) }
            Task {
                await daemon.stop()
                hasStopped.store(true, ordering: .relaxed)
            }
            try await wait(for: "the stop") { hasStopped.load(ordering: .relaxed) }
        }
    }
}
