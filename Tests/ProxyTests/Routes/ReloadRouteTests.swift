import HTTP
import NIOCore
import NIOEmbedded
import Testing

@testable import Proxy

@Suite("Reload route")
struct ReloadRouteTests {
    private let lifecycle = SwitchedLifecycle()

    private func post() async throws -> Received {
        let route = ReloadRoute(lifecycle: lifecycle)
        let eventLoop = NIOAsyncTestingEventLoop()
        switch route.respond(to: Request(method: .post, path: "/-/reload"), on: eventLoop) {
        case .now(let response): return Received(response, method: .post)
        case .later(let future): return Received(try await future.get(), method: .post)
        }
    }

    @Test("forbidden unless enable_lifecycle is set")
    func forbidden() async throws {
        let received = try await post()
        #expect(received.status == 403)
        #expect(received.text.contains("enable_lifecycle"))
        #expect(lifecycle.changes == [])
    }

    @Test("200 with the changes, one a line")
    func success() async throws {
        lifecycle.isEnabled = true
        var plan = ReloadPlan(from: nil, to: LoadedConfig(config: Config(), origin: ConfigOrigin(file: "config.toml")))
        plan.changes = ["one", "two"]
        plan.needsRestart = ["exporter.worker_threads"]
        lifecycle.reloads(with: .success(plan))
        let received = try await post()
        #expect(received.status == 200)
        #expect(received.text == "one\ntwo\nexporter.worker_threads takes effect with the next start\n")
        #expect(received[header: "Cache-Control"] == "no-store")
        #expect(lifecycle.changes.map { "\($0.request) \($0.status)" } == ["POST /-/reload 200"])
    }

    @Test("500 with the reason")
    func failure() async throws {
        lifecycle.isEnabled = true
        lifecycle.reloads(with: .failure(reason: "config.toml:1:1: error: unknown key x"))
        let received = try await post()
        #expect(received.status == 500)
        #expect(received.text == "config.toml:1:1: error: unknown key x\n")
        #expect(lifecycle.changes.map(\.status) == [500])
    }

    @Test("other methods get 405", arguments: ["GET", "HEAD", "PUT", "DELETE"])
    func methods(method: String) throws {
        let received = try ScrapeSide().send(method, "/-/reload")
        #expect(received.status == 405)
        #expect(received[header: "Allow"] == "POST")
    }
}
