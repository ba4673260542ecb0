import Dispatch
import Foundation
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
            await daemon.endEventLoops()
        }
    }

    @Test(
        "a push whose sender has closed its Unix socket is in the state file of a stop that follows at once", arguments: [2000, 30_000])
    func pushBeforeAStop(lines: Int) async throws {
        try await withTemporaryFolder { folder in
            try folder.write(
                "config.toml",
                """
                [exporter]
                worker_threads = 1
                scrape_expose_endpoint = "127.0.0.1:0"
                shutdown_timeout = 600
                [receiver]
                receive_on_unix_socket = true
                receiver_unix_socket = "r.sock"
                state_file = "apps.state"
                [metrics]
                app_label = "app"
                """)
            let loaded = try ConfigLoader(file: folder.path("config.toml")).load()
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let daemon = Daemon(loaded, logger: logger)
            let unix = try #require(try await daemon.start().unix)
            try {
                let sender = try RawConnection(to: unix)
                try sender.send("{\"the_app\": \"\(String(repeating: "x 1\\n", count: lines))\"}")
            }()
            await daemon.stop()
            await daemon.endEventLoops()
            let state = try Data(contentsOf: URL(fileURLWithPath: folder.path("apps.state")))
            #expect(state.range(of: Data("the_app".utf8)) != nil)
        }
    }
}
