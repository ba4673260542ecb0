import Foundation
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("TargetClient: redirects")
struct RedirectTests {
    @Test("a redirect within the origin is followed on the same connection, with credentials", arguments: [301, 302, 303, 307, 308])
    func sameOrigin(status: Int) async throws {
        try await HTTPTarget.with(answer: {
            $0.path == "/metrics" ? [.redirect(to: "/other?x=1", status: "\(status) Moved")] : [.respond("a 1\n")]
        }) { server in
            let target = try Target(port: server.port).with { $0.credentials = .basic(username: "u", password: .literal("p")) }
            try await withClient(target) { client in
                try await client.expect(text: "a 1\n")
                try await client.expect(text: "a 1\n")
            }
            #expect(server.connections == 1)
            #expect(server.requests.map(\.path) == ["/metrics", "/other?x=1", "/metrics", "/other?x=1"])
            #expect(server.requests.allSatisfy { $0.headers["authorization"] == "Basic dTpw" })
        }
    }

    @Test(
        "a target that leads to the proxy's own scrape address fails, whatever its path is",
        arguments: ["/metrics", "/metrics/self", "/apps", "/collisions", "/sd", "/-/healthy", "/", "/nothing"])
    func ownAddress(path: String) async throws {
        try await withScrapeServer { own in
            try own.push("a", "a 1\n")
            let port = try #require(own.listener.listener.port)
            try await HTTPTarget.with(answer: { _ in [.redirect(to: "http://127.0.0.1:\(port)\(path)")] }) { server in
                try await withClient(Target(port: server.port)) { client in try await client.expect(failure: "status 508 Loop Detected") }
            }
        }
    }

    @Test("credentials and configured headers do not follow to another origin, nor come back from there")
    func otherOrigin() async throws {
        let home = Ports()
        try await HTTPTarget.with(answer: { _ in [.redirect(to: "http://127.0.0.1:\(home.port)/back")] }) { foreign in
            let foreignPort = foreign.port
            try await HTTPTarget.with(answer: {
                $0.path == "/back" ? [.respond("a 1\n")] : [.redirect(to: "http://127.0.0.1:\(foreignPort)/away")]
            }) { server in
                home.port = server.port
                let target = try Target(port: server.port).with {
                    $0.credentials = .authorization(type: "Bearer", credentials: .literal("token"))
                    $0.headers = [.init(name: "X-Api-Key", value: "key"), .init(name: "Cookie", value: "c=d")]
                }
                try await withClient(target) { client in
                    try await client.expect(text: "a 1\n")
                    try await client.expect(text: "a 1\n")
                }
                for request in foreign.requests {
                    #expect(
                        request.headers["authorization"] == nil && request.headers["x-api-key"] == nil && request.headers["cookie"] == nil)
                    #expect(request.headers["host"] == "127.0.0.1:\(foreignPort)")
                }
                #expect(foreign.requests.count == 2)
                let first = server.requests.filter { $0.path == "/metrics" }
                #expect(
                    first.count == 2
                        && first.allSatisfy { $0.headers["authorization"] == "Bearer token" && $0.headers["x-api-key"] == "key" })
                let back = server.requests.filter { $0.path == "/back" }
                #expect(back.count == 2 && back.allSatisfy { $0.headers["authorization"] == nil && $0.headers["x-api-key"] == nil })
                // Those of the way are not kept, nor used with the target's credentials. The kept one is closed when the way leads back, for a
                // server may serve one connection at a time.
                #expect(Set(first.map(\.connection)).count == 2)
                #expect(Set(back.map(\.connection)).isDisjoint(with: first.map(\.connection)))
                try await eventually { foreign.openConnections == 0 && server.openConnections <= 1 }
            }
        }
    }

    @Test("redirects that go in circles end")
    func circles() async throws {
        try await HTTPTarget.with(answer: { _ in [.redirect(to: "/metrics")] }) { server in
            try await withClient(Target(port: server.port)) { try await $0.expect(failure: "more than 10 redirects") }
            #expect(server.requests.count == 11)
        }
    }

    @Test(
        "what cannot be followed says so",
        arguments: [
            ("file:///etc/passwd", "redirect not followed: scheme file is not supported"),
            ("unix:/run/docker.sock:/", "redirect not followed: scheme unix is not supported"),
            ("https://127.0.0.1/", "TLS is not set up for this target"),
        ])
    func refused(location: String, expected: String) async throws {
        try await HTTPTarget.with(answer: { _ in [.redirect(to: location)] }) { server in
            try await withClient(Target(port: server.port)) { try await $0.expect(failure: expected) }
        }
    }

    @Test("follow_redirects = false makes a redirect a failure")
    func notFollowed() async throws {
        try await HTTPTarget.with(answer: { _ in [.redirect(to: "/other")] }) { server in
            let target = try Target(port: server.port).with { $0.followRedirects = false }
            try await withClient(target) { try await $0.expect(failure: "status 302 Found (redirects are not followed)") }
            #expect(server.requests.count == 1)
        }
    }

    @Test("the deadline is for all hops together")
    func deadline() async throws {
        try await HTTPTarget.with(answer: { _ in [.wait(.milliseconds(300)), .redirect(to: "/again")] }) { server in
            try await withClient(Target(port: server.port, timeout: .seconds(1))) {
                try await $0.expect(failure: "timed out after 1s while waiting for the response head")
            }
            #expect(server.requests.count < 6)
        }
    }

    @Test("a redirect from a Unix socket can stay there")
    func unix() async throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("poll-\(UUID().uuidString.prefix(8)).sock").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await HTTPTarget.with(
            unixSocket: path,
            answer: {
                $0.path == "/metrics" ? [.redirect(to: "http://localhost/metrics/")] : [.respond("a 1\n")]
            }
        ) { _ in
            let target = try Target(port: 1).with { $0.url.origin = .unix(path: path) }
            try await withClient(target) { try await $0.expect(text: "a 1\n") }
        }
    }
}

/// A port that is known only after the closure that needs it was made.
private final class Ports: Sendable {
    private let lock = NSLock()
    nonisolated(unsafe) private var value: UInt16 = 0  // Only under the lock.

    var port: UInt16 {
        get { lock.withLock { value } }
        set { lock.withLock { value = newValue } }
    }
}
