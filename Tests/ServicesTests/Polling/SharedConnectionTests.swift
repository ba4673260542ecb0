import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("Targets of one origin")
struct SharedConnectionTests {
    /// Two targets of one server that serves one connection at a time.
    private func withTwo(
        _ change: (inout Target) -> Void = { _ in }, answer: @escaping @Sendable (HTTPTarget.Request) -> [HTTPTarget.Step],
        _ body: (HTTPTarget, TestClient, TestClient) async throws -> Void
    ) async throws {
        try await HTTPTarget.with(oneAtATime: true, answer: answer) { server in
            let shared = try await SharedContext()
            try await withClient(Target(port: server.port, path: "/a"), in: shared) { first in
                try await withClient(Target(port: server.port, path: "/b").with(change), in: shared) { second in
                    try await body(server, first, second)
                }
            }
        }
    }

    @Test("one connection serves them in turn")
    func inTurn() async throws {
        try await withTwo(answer: { [.respond("\($0.path.dropFirst()) 1\n")] }) { server, first, second in
            for _ in 0..<3 {
                try await first.expect(text: "a 1\n")
                try await second.expect(text: "b 1\n")
            }
            #expect(server.connections == 1)
        }
    }

    @Test("both poll at once: the one that is served first leaves the server to the other")
    func atOnce() async throws {
        try await withTwo(answer: { [.wait(.milliseconds(50)), .respond("\($0.path.dropFirst()) 1\n")] }) { server, first, second in
            for _ in 0..<3 {
                async let a = first.text()
                async let b = second.text()
                let texts = try await [a, b]
                #expect(texts == ["a 1\n", "b 1\n"])
            }
            try await eventually { server.openConnections == 1 }
        }
    }

    @Test("a target that needs a connection of its own has the idle one closed")
    func ownConnection() async throws {
        try await withTwo { target in
            target.keepAlive = false
        } answer: {
            [.respond("\($0.path.dropFirst()) 1\n")]
        } _: { server, first, second in
            for _ in 0..<3 {
                try await first.expect(text: "a 1\n")
                try await second.expect(text: "b 1\n")
            }
            #expect(server.connections == 6)
        }
    }

    @Test("a redirect to the origin of another target has its idle connection closed")
    func redirect() async throws {
        try await HTTPTarget.with(oneAtATime: true, answer: { [.respond("\($0.path.dropFirst()) 1\n")] }) { server in
            let location = "http://127.0.0.1:\(server.port)/led"
            try await HTTPTarget.with(answer: { _ in [.redirect(to: location)] }) { leading in
                let shared = try await SharedContext()
                try await withClient(Target(port: server.port, path: "/a"), in: shared) { first in
                    try await withClient(Target(port: leading.port), in: shared) { second in
                        for _ in 0..<2 {
                            try await first.expect(text: "a 1\n")
                            try await second.expect(text: "led 1\n")
                        }
                    }
                }
            }
        }
    }

    @Test("a target that stops leaves the connection to the others, the last one closes it")
    func stopping() async throws {
        try await withTwo(answer: { [.respond("\($0.path.dropFirst()) 1\n")] }) { server, first, second in
            try await first.expect(text: "a 1\n")
            try await first.stop()
            try await second.expect(text: "b 1\n")
            #expect(server.connections == 1)
            try await second.stop()
            try await eventually { server.openConnections == 0 }
        }
    }
}
